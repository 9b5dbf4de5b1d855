import { dirname, join } from 'node:path';
import type { CustomerConfiguration, SecretReference } from '../config/configuration.ts';

/**
 * The id of the next key: that of the current one with a greater number than any id has that is or was in use. An id is
 * never given twice: packs under a destroyed key would be taken for packs under the new one.
 */
export function nextKeyId(current: string, used: Iterable<string>): string {
  const stem = (id: string): [string, number] => {
    const [, name = id, digits = ''] = /^(.*?)(\d{0,9})$/.exec(id) ?? [];
    return [name, Number(digits)];
  };
  const [name, number] = stem(current);
  const numbers = [...used].map(stem).flatMap(([other, n]) => (other === name ? [n] : []));
  return `${name}${Math.max(number, ...numbers, 1) + 1}`;
}

/** One step of a rotation: at which sites, what, the lines for tandem.yaml, and the command that shows it is done. */
export interface RotationStep {
  at: readonly string[];
  text: string;
  lines: string[];
  check: string;
}

/** Where the new key will lie, as the configuration names it: beside the current one, in a file or in the environment. */
export function newReference(customer: CustomerConfiguration, id: string): SecretReference {
  const current = customer.keys.get(customer.currentKey);
  const place = { at: '', path: '' };
  if (current && 'env' in current)
    return { env: `${customer.id}_KEY_${id}`.toUpperCase().replaceAll('-', '_').replace(/^\d/, 'K$&'), ...place };
  return { file: join(current ? dirname(current.file) : '.', `${customer.id}-${id}`), ...place };
}

/**
 * The steps in their safe order. A site that wrote under a key which its peer lacks would not be protected: the peer
 * counts nothing that it cannot open.
 */
export function rotationSteps(
  customer: CustomerConfiguration,
  id: string,
  reference: SecretReference,
  sum: string,
): RotationStep[] {
  const { currentKey: old, sites } = customer;
  const both = sites.join(' and ');
  const ring = [...customer.keys, [id, reference] as const];
  const lines = (current: string): string[] => [
    'customers:',
    `  ${customer.id}:`,
    '    keys:',
    `      current: ${current}`,
    '      ring:',
    ...ring.map(([key, where]) => `        ${key}: ${referenceText(where)}`),
  ];
  const list = `tandem keys list --customer ${customer.id}`;
  return [
    {
      at: sites,
      text: `Add ${id} to the ring at ${both}; ${old} stays current. Restart both workers, then make a new escrow.`,
      lines: lines(old),
      check: `\`${list}\` at each site shows ${id} with checksum ${sum}`,
    },
    {
      at: sites,
      text: `Only when both have it: make ${id} current at ${both}. Restart both workers.`,
      lines: lines(id),
      check: `after the next snapshots, \`tandem keys verify --customer ${customer.id}\` at each site says that ${id} opens`,
    },
    {
      at: sites,
      text: `Keep ${old} in both rings until \`keys list\` says may-go at each site; then take its line out, destroy it, and make a new escrow.`,
      lines: [],
      check: `\`${list}\` at each site shows ${old} as may-go, some 42 days from now`,
    },
  ];
}

function referenceText(reference: SecretReference): string {
  if ('env' in reference) return `{ env: ${reference.env} }`;
  const plain = /^[\w./-]+$/.test(reference.file);
  return `{ file: ${plain ? reference.file : JSON.stringify(reference.file)} }`;
}
