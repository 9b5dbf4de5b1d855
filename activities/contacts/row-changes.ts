import { kinds, type Row } from '../vault/record-rows.ts';
import { decodeRow, walkRecord } from '../vault/record.ts';

/** What must be done to the rows of one user, so that they are those of another version of him. */
export interface RowChanges {
  /** Of rosterusers and rostergroups: addresses whose rows go, and rows that come; of an address all or none. */
  contacts: { gone: string[]; rows: Row[] };
  groups: { gone: string[]; rows: Row[] };
  /** Whether anything of his lists, items or default differs: they hang together, are few, and are replaced whole. */
  privacy: boolean;
}

const CONTACTS = 0;
const GROUPS = 1;

/** From one record to another of the same user. */
export function rowChanges(from: Buffer, to: Buffer): RowChanges {
  const [a, b] = [byAddress(from), byAddress(to)];
  return {
    contacts: changesOf(to, CONTACTS, a.contacts, b.contacts),
    groups: changesOf(to, GROUPS, a.groups, b.groups),
    privacy: !a.privacy.equals(b.privacy),
  };
}

interface Place {
  start: number;
  /** The row's bytes. */
  text: string;
}

interface Addressed {
  contacts: Map<string, Place[]>;
  groups: Map<string, Place[]>;
  /** Everything after the groups: a record has its kinds in one order, and its rows too. */
  privacy: Buffer;
}

function byAddress(record: Buffer): Addressed {
  const contacts = new Map<string, Place[]>();
  const groups = new Map<string, Place[]>();
  let privacyFrom = record.length;
  walkRecord(record, 'record', (kind, start, end) => {
    if (kind !== CONTACTS && kind !== GROUPS) {
      privacyFrom = Math.min(privacyFrom, start);
      return;
    }
    const of = kind === CONTACTS ? contacts : groups;
    const address = decodeRow(record, start, 1)[0] ?? '';
    const places = of.get(address);
    const place = { start, text: record.toString('latin1', start, end) };
    if (places) places.push(place);
    else of.set(address, [place]);
  });
  return { contacts, groups, privacy: record.subarray(privacyFrom) };
}

function changesOf(
  record: Buffer,
  kind: number,
  from: Map<string, Place[]>,
  to: Map<string, Place[]>,
): RowChanges['contacts'] {
  const columns = kinds[kind]?.columns ?? 0;
  const textOf = (places: Place[] | undefined): string => (places ?? []).map(({ text }) => text).join('');
  const gone: string[] = [];
  const rows: Row[] = [];
  for (const address of new Set([...from.keys(), ...to.keys()])) {
    const wanted = to.get(address);
    if (textOf(from.get(address)) === textOf(wanted)) continue;
    if (from.has(address)) gone.push(address);
    for (const { start } of wanted ?? []) rows.push(decodeRow(record, start, columns));
  }
  return { gone, rows };
}
