import { conflictRules } from '../../workflows/model/planned-move.ts';
import { encodeRecord, noRows, type Row, type UserRows } from '../../activities/vault/record.ts';

/** Versions of one user, and what the service would make of them. */

export const rules = conflictRules;
export const PEERS = ['ann@x.example', 'bob@x.example', 'cat@y.example'];

export const contact = (jid: string, subscription = 'B', nick = ''): Row => [
  jid,
  nick,
  subscription,
  'N',
  '',
  'N',
  '',
  'item',
];
export const item = (type: string, value: string, action = 'd', order = '1', flags = 'tffff', list = 'L'): Row => [
  list,
  type,
  value,
  action,
  order,
  flags,
];
export const rowsOf = (given: Partial<UserRows>): UserRows => {
  const rows = { ...noRows(), ...given };
  return {
    ...rows,
    lists: [...new Set([...rows.lists, ...rows.items.map(([l]) => [l ?? ''])].map(String))].map((l) => [l]),
  };
};
export const acl = (...items: Row[]): UserRows => rowsOf({ items });
export const orders = (rows: UserRows): string[] =>
  rows.items.map((i) => `${i[3]} ${i[1] === 'n' ? 'all' : i[2]?.split('@')[0]}`);
export const bytes = (rows: UserRows | null): string | null => rows && encodeRecord('u', rows).toString('latin1');

/** What the service would do: written down once more, and simply, so that it can find fault with the merge. */
export function denied(rows: UserRows, list: string | null, peer: string, kind: number): boolean {
  const sub = rows.contacts.find(([jid]) => jid === peer)?.[2] ?? 'N';
  const groups = rows.groups.filter(([jid]) => jid === peer).map(([, g]) => g);
  const names: Record<string, string> = { N: 'none', B: 'both', F: 'from', T: 'to' };
  const first = rows.items
    .filter((i) => i[0] === list)
    .toSorted((a, b) => Number(a[4]) - Number(b[4]) || (a[3] === 'd' ? -1 : 0) - (b[3] === 'd' ? -1 : 0))
    .find(([, type, value, , , flags]) => {
      if (flags?.[0] !== 't' && flags?.[kind] !== 't') return false;
      if (type === 'n') return true;
      if (type === 'g') return groups.includes(value ?? '');
      if (type === 's') return value === names[sub];
      return value === peer || value === peer.split('@')[1];
    });
  return first?.[3] === 'd';
}

/** Every denial of a version: in which list (null: where none is picked), of whom, of what. */
export function denials(rows: UserRows): string[] {
  const lists = [...new Set(rows.items.map(([l]) => l ?? ''))].map((l) => [l, l] as const);
  const views = [...lists, [null, rows.defaults[0]?.[0] ?? null] as const];
  return views.flatMap(([as, list]) =>
    [...PEERS, 'zoe@z.example'].flatMap((peer) =>
      [1, 2, 3, 4].filter((kind) => denied(rows, list, peer, kind)).map((kind) => JSON.stringify([as, peer, kind])),
    ),
  );
}

export const lost = (side: UserRows, merged: UserRows): string[] => {
  const kept = new Set(denials(merged));
  return denials(side).filter((d) => !kept.has(d));
};
