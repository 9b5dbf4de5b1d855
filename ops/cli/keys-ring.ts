import { randomBytes } from 'node:crypto';
import { relative, resolve } from 'node:path';
import type { Command } from 'commander';
import type { Configuration, CustomerConfiguration, SecretReference } from '../config/configuration.ts';
import { checksum, KEY_BYTES, readRing } from '../config/keyring.ts';
import { Fault } from '../fault.ts';
import { keepSecret } from '../keyring/files.ts';
import { inventory, states, type KeyLine } from '../keyring/inventory.ts';
import { proveKeys, verdicts, type Proof, type Verdict } from '../keyring/proof.ts';
import { newReference, nextKeyId, rotationSteps } from '../keyring/rotation.ts';
import { surveyKeys, type VaultUse } from '../keyring/survey.ts';
import { verifyEscrow } from './keys-escrow.ts';
import { table, type Context } from './print.ts';
import { customerOf, openConfiguration } from './site.ts';

const BRING_BACK = 'Bring it back from the escrow, `tandem keys restore FILE --into FOLDER`, and add it to the ring.';

interface Which {
  customer?: string;
}

/** The verbs about a customer's ring and what the vaults need of it. */
export function registerRing(group: Command, context: Context): void {
  const verb = (name: string, about: string): Command =>
    group.command(name).description(about).option('--customer <id>', 'whose keys; needed when there is more than one');
  verb('list', 'every key of the ring, and every key that the vaults need')
    .addHelpText('after', () => `\n${table(Object.entries(states).map(([k, v]) => [`  ${k}`, v])).join('\n')}`)
    .action((o: Which) => list(context, o));
  verb('verify', 'open a pack under each key in each vault that answers')
    .option('--escrow <file>', 'instead: open this escrow and compare it with the ring')
    .option('--passphrase-file <file>', 'opens the escrow (or TANDEM_PASSPHRASE, or the terminal)')
    .action((o: Which & { escrow?: string; passphraseFile?: string }) =>
      o.escrow === undefined
        ? verify(context, o)
        : verifyEscrow(context, { ...o, file: o.escrow, passphraseFile: o.passphraseFile }),
    );
  verb('rotate', 'make the next key, and say what goes into both configurations, in which order')
    .option('--out <file>', 'write the key there, readable by you alone; without it the key is printed')
    .action((o: Which & { out?: string }) => rotate(context, o));
}

/** Reads the ring and both vaults, and closes the vaults when the work is done. */
async function surveyed<T>(
  context: Context,
  configuration: Configuration,
  customer: CustomerConfiguration,
  work: (vaults: VaultUse[]) => Promise<T>,
): Promise<T> {
  context.out.say(`Reading the manifests of ${customer.id} in the vaults of ${customer.sites.join(' and ')} …`);
  const survey = await surveyKeys(configuration, customer, context.signal);
  try {
    return await work(survey.vaults);
  } finally {
    survey.close();
  }
}

/** What the vaults could not say, for people and for programs. */
function silence(vaults: VaultUse[]): string[] {
  return vaults.flatMap((v) => [
    ...(v.because === null ? [] : [`The vault of ${v.site} cannot be read, so what it needs is unknown: ${v.because}`]),
    ...v.faults.map((f) => `A manifest counts for nothing: ${f}`),
  ]);
}

const unreadable = (lines: KeyLine[]): string[] =>
  lines.flatMap((l) => (l.because === null ? [] : [`Key ${l.id} is not in the ring: ${l.because}`]));

const vaultsJson = (vaults: VaultUse[]): object[] =>
  vaults.map(({ site, vault, because, faults }) => ({ site, answers: vault !== null, because, faults }));

function needAnswer(vaults: VaultUse[]): void {
  if (vaults.some((v) => v.vault !== null)) return;
  throw new Fault(
    `vaults of ${vaults.map((v) => v.site).join(' and ')}: neither can be read`,
    '`tandem status` shows what answers; the answer above says why.',
  );
}

function needKeys(customer: CustomerConfiguration, lines: KeyLine[]): void {
  const missing = lines.filter((l) => l.state === 'missing');
  if (missing.length === 0) return;
  const each = missing.map(
    (l) => `key ${l.id}, needed by ${l.snapshots} snapshots${l.neededUntil === null ? '' : ` until ${l.neededUntil}`}`,
  );
  throw new Fault(`ring of ${customer.id}: lacks ${each.join('; ')}`, BRING_BACK);
}

async function list(context: Context, o: Which): Promise<void> {
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, o.customer);
  const ring = await readRing(configuration, customer);
  await surveyed(context, configuration, customer, (vaults) => {
    const lines = inventory(customer, ring, vaults, Date.now());
    const places = vaults.map((v) => v.site);
    const rows = lines.map((l) => [
      l.id,
      l.checksum ?? '-',
      l.state === 'missing' ? 'MISSING' : l.state,
      String(l.snapshots),
      ...places.map((site) => String(l.inVault[site] ?? '?')),
      l.newestPoint ?? '-',
      l.neededUntil ?? '-',
    ]);
    context.out.answer(
      { customer: customer.id, current: customer.currentKey, vaults: vaultsJson(vaults), keys: lines },
      [
        ...table([
          ['key', 'checksum', 'state', 'snapshots', ...places.map((p) => `in ${p}`), 'newest point', 'needed until'],
          ...rows,
        ]),
        ...unreadable(lines),
        ...silence(vaults),
      ],
    );
    needAnswer(vaults);
    needKeys(customer, lines);
    return Promise.resolve();
  });
}

async function verify(context: Context, o: Which): Promise<void> {
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, o.customer);
  const ring = await readRing(configuration, customer);
  await surveyed(context, configuration, customer, async (vaults) => {
    const lines = inventory(customer, ring, vaults, Date.now());
    const proofs = await proveKeys(lines, { current: customer.currentKey, ring: ring.keys }, vaults);
    const sums = new Map(lines.map((l) => [l.id, l.checksum]));
    context.out.answer({ customer: customer.id, vaults: vaultsJson(vaults), keys: proofs }, [
      ...table([
        ['key', 'checksum', 'in vault', 'written by', 'says', 'pack'],
        ...proofs.map((p) => [p.id, sums.get(p.id) ?? '-', p.vault, p.of ?? '-', p.says, p.pack?.slice(0, 16) ?? '-']),
      ]),
      ...unreadable(lines),
      ...proofs.flatMap((p) => (p.because === null ? [] : [`Key ${p.id}: ${p.because}`])),
      ...silence(vaults),
    ]);
    needAnswer(vaults);
    needProofs(customer, proofs);
  });
}

function needProofs(customer: CustomerConfiguration, proofs: Proof[]): void {
  const bad = proofs.filter((p) => !verdicts[p.says]);
  if (bad.length === 0) return;
  const text = (p: Proof): string =>
    p.of === null ? `key ${p.id} is ${p.says}` : `key ${p.id} is ${p.says} for what ${p.of} wrote`;
  const each = [...new Set(bad.map(text))]; // One that is missing is so in every vault.
  throw new Fault(`ring of ${customer.id}: ${each.join('; ')}`, adviceFor(new Set(bad.map((p) => p.says))));
}

function adviceFor(says: ReadonlySet<Verdict>): string {
  if (says.has('wrong'))
    return 'Compare checksums with the other site and the escrow: `tandem keys list`, `tandem keys verify --escrow FILE`.';
  if (says.has('missing')) return BRING_BACK;
  return 'The packs are damaged, which says nothing about the key: the other vault may hold them whole, `tandem snapshot list`.';
}

async function rotate(context: Context, o: Which & { out?: string }): Promise<void> {
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, o.customer);
  const { id, unknown } = await surveyed(context, configuration, customer, (vaults) =>
    Promise.resolve({
      id: nextKeyId(customer.currentKey, [...customer.keys.keys(), ...vaults.flatMap((v) => [...v.uses.keys()])]),
      unknown: silence(vaults),
    }),
  );
  const key = randomBytes(KEY_BYTES);
  const text = key.toString('base64');
  if (o.out !== undefined) await keepSecret(o.out, `${text}\n`);
  const reference = o.out === undefined ? newReference(customer, id) : fileReference(configuration, o.out);
  const sum = checksum(key);
  const steps = rotationSteps(customer, id, reference, sum);
  const secret = o.out === undefined ? { key: text } : { file: o.out };
  context.out.answer({ customer: customer.id, id, checksum: sum, ...secret, steps, unknown }, [
    o.out === undefined
      ? `Key ${id} of ${customer.id}, checksum ${sum}. It is shown once, and kept nowhere:\n  ${text}`
      : `Key ${id} of ${customer.id}, checksum ${sum}, is in ${o.out}, readable by you alone.`,
    `Carry it to ${customer.sites.join(' and ')} by a way that nobody else reads; nothing has been changed yet.`,
    ...steps.flatMap((step, i) => [
      '',
      `${i + 1}. ${step.text}`,
      ...step.lines.map((l) => `     ${l}`),
      `   Done when ${step.check}.`,
    ]),
    ...(unknown.length === 0 ? [] : ['', ...unknown, `Make sure that ${id} was never used there before.`]),
  ]);
  context.out.next(`tandem keys list --customer ${customer.id}`);
}

/** A file as tandem.yaml would name it: relative where it lies below the configuration. */
function fileReference(configuration: Configuration, file: string): SecretReference {
  const path = resolve(file);
  const inside = relative(resolve(configuration.folder), path);
  return { file: inside.startsWith('..') ? path : inside, at: '', path: '' };
}
