import { canonicalJson } from '../../workflows/model/plan.ts';
import { sha256 } from '../vault/signed.ts';

/** The instant-message filter of a customer, the same at both sites (SERVICE). What each word means is told in FILTER.md. */

export const urlModes = [
  'allow-all',
  'allow-intranet',
  'block-intranet-links-with-listed-extensions',
  'block-messages-with-links',
  'links-as-plain-text',
  'allow-active-links',
] as const;

export const fileModes = ['allow-all', 'block-listed-extensions', 'block-all'] as const;

export interface FilterPolicy {
  urls: (typeof urlModes)[number];
  files: (typeof fileModes)[number];
  /** Without their dots, in small letters; for links as well as for files. */
  extensions: readonly string[];
  /** Domains whose hosts are the customer's own, as a name server has them. A host without a dot is one anyhow. */
  intranet: readonly string[];
}

/** The list that every customer begins with (SERVICE). */
export const defaultExtensions: readonly string[] = (
  'ade adp app asp bas bat cer chm cmd com cpl crt csh exe fxp grp hlp hta inf ins isp its js jse ksh lnk mad maf mag mam ' +
  'maq mar mas mat mau mav maw mda mdb mde mdt mdw mdz msc msi msp mst ocx ops pcd php pif pl pnp prf prg pst reg scf scr ' +
  'sct shb shs tmp url vb vbe vbs vsd vsmacros vss vst vsw ws wsc wsf wsh'
).split(' ');

/** The mildest modes in which the default list holds, for links as for files: whoever wants more says so. */
export const defaultFilter: FilterPolicy = {
  urls: 'allow-active-links',
  files: 'block-listed-extensions',
  extensions: defaultExtensions,
  intranet: [],
};

/** What the service reads: the same text for the same policy, in whatever order its lists were written. */
export function filterDocument({ urls, files, extensions, intranet }: FilterPolicy): string {
  const list = (items: readonly string[]): string[] => [...new Set(items)].toSorted();
  return canonicalJson({ format: 1, urls, files, extensions: list(extensions), intranet: list(intranet) });
}

export const filterDigest = (policy: FilterPolicy): string => sha256(filterDocument(policy));

/** Where another document differs from a policy, in words: `urls allow-all instead of allow-intranet; extensions without exe`. */
export function filterDifferences(policy: FilterPolicy, document: string): string[] {
  const wanted = JSON.parse(filterDocument(policy)) as Record<string, unknown>;
  const found = parsed(document);
  if (!found) return ['it cannot be read'];
  const fields = [...new Set([...Object.keys(wanted), ...Object.keys(found)])].toSorted();
  return fields.flatMap((field) => difference(field, wanted[field], found[field]));
}

/** So many of a list are told. */
const TOLD = 5;

function difference(field: string, wanted: unknown, found: unknown): string[] {
  if (JSON.stringify(wanted) === JSON.stringify(found)) return [];
  if (!Array.isArray(wanted) || !Array.isArray(found)) return [`${field} ${word(found)} instead of ${word(wanted)}`];
  const of = (what: string, items: unknown[]): string[] => {
    const rest = items.length > TOLD ? ` and ${items.length - TOLD} more` : '';
    return items.length === 0 ? [] : [`${field} ${what} ${items.slice(0, TOLD).map(word).join(', ')}${rest}`];
  };
  const all = (list: unknown[]): Set<unknown> => new Set(list);
  const [wants, has] = [all(wanted), all(found)];
  const told = [
    ...of(
      'without',
      [...wants].filter((item) => !has.has(item)),
    ),
    ...of(
      'with',
      [...has].filter((item) => !wants.has(item)),
    ),
  ];
  return told.length > 0 ? told : [`${field} in another order`];
}

/** Short, and in one line, whatever somebody has written there. */
const word = (value: unknown): string => (JSON.stringify(value) ?? 'nothing').replaceAll('"', '').slice(0, 60);

function parsed(document: string): Record<string, unknown> | null {
  try {
    const value = JSON.parse(document) as unknown;
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null;
  } catch {
    return null;
  }
}
