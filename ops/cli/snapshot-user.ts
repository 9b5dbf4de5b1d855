import type { OpenSnapshot } from '../../activities/vault/open.ts';
import { count, noCounts, type UserRecord, type UserRows } from '../../activities/vault/record.ts';
import { Fault } from '../fault.ts';
import { counted, plain, table, type Context } from './print.ts';

/** What a snapshot holds of a user: counts, and only when asked for also his name and rows (DESIGN 7). */
export async function showUser(
  context: Context,
  snapshot: OpenSnapshot,
  username: string,
  contents: boolean,
): Promise<void> {
  const { seq, site, point } = snapshot.summary;
  const index = await snapshot.index();
  const id = index.keyOfName(username).toString('hex');
  const record = await snapshot.record(username);
  if (!record)
    throw new Fault(
      `snapshot ${seq} of ${site}: does not hold user ${id}`,
      'Compare the spelling: the part before the @, as the service stores it. He may be served at the other site: --of.',
    );
  const { users: _one, ...counts } = countsOf(record);
  const { epoch } = index.entry(index.findName(username)).entry;
  const user = {
    id,
    epoch,
    recordId: record.recordId.toString('hex'),
    bytes: record.bytes.length,
    counts,
  };
  const { contacts, groups, lists, aclItems, defaults } = counts;
  const head = [
    `User ${contents ? `${plain(username)}, id ${id},` : id} in snapshot ${seq} of ${site}, recovery point ${point}`,
    `  ${counted(contacts, 'contact')}, ${counted(groups, 'group')}, ${counted(lists, 'list')}, ${counted(aclItems, 'ACL item')}, ${counted(defaults, 'default list')}; served under epoch ${epoch}`,
  ];
  if (!contents) {
    context.out.answer({ snapshot: snapshot.summary, user }, [
      ...head,
      '--show-contents prints the name and all rows.',
    ]);
    return;
  }
  const answer = { snapshot: snapshot.summary, user: { ...user, username, ...named(record.rows) } };
  context.out.answer(answer, [...head, ...listing(record.rows)]);
}

function countsOf({ bytes }: UserRecord): ReturnType<typeof noCounts> {
  const counts = noCounts();
  count(counts, bytes);
  return counts;
}

const columns = {
  contacts: ['jid', 'nick', 'subscription', 'ask', 'askmessage', 'server', 'subscribe', 'type'],
  groups: ['jid', 'grp'],
  lists: ['name'],
  items: ['list', 't', 'value', 'action', 'ord', 'flags'],
  defaults: ['name'],
} as const;

type Named = Record<keyof UserRows, Record<string, string | null>[]>;

/** Rows with the names of their columns, exactly as they are stored. */
function named(rows: UserRows): Named {
  const kinds = Object.keys(columns) as (keyof UserRows)[];
  const of = (kind: keyof UserRows): Record<string, string | null>[] =>
    rows[kind].map((row) => Object.fromEntries(columns[kind].map((name, i) => [name, row[i] ?? null])));
  return Object.fromEntries(kinds.map((kind) => [kind, of(kind)])) as Named;
}

const text = (value: string | null | undefined): string =>
  value === null || value === undefined ? 'NULL' : plain(value);
const quoted = (value: string | null | undefined): string => `"${text(value)}"`;

function listing(rows: UserRows): string[] {
  return [...contactLines(rows), ...listLines(rows)];
}

const subscriptions: Record<string, string> = { B: 'both', T: 'to', F: 'from', N: 'none' };
const asks: Record<string, string> = { O: 'asked', I: 'asks', B: 'asked and asks' };

function contactLines({ contacts, groups }: UserRows): string[] {
  const known = new Set(contacts.map(([jid]) => jid));
  const groupsOf = (of: string | null | undefined): string =>
    groups.flatMap(([jid, name]) => (jid === of ? [quoted(name)] : [])).join(', ');
  const lines = contacts.map(([jid, nick, subscription, ask, askmessage]) => {
    const asking = asks[ask ?? ''];
    return [
      `  ${text(jid)}`,
      quoted(nick),
      subscriptions[subscription ?? ''] ?? text(subscription),
      asking === undefined ? '' : `${asking}${askmessage ? `: ${quoted(askmessage)}` : ''}`,
      groupsOf(jid),
    ];
  });
  const orphans = groups.filter(([jid]) => !known.has(jid ?? null));
  return [
    ...(lines.length > 0
      ? ['Contacts', ...table([['  address', 'name', 'subscription', 'request', 'groups'], ...lines])]
      : []),
    ...(orphans.length > 0
      ? ['Groups of nobody on the list', ...orphans.map(([jid, name]) => `  ${text(jid)}: ${quoted(name)}`)]
      : []),
  ];
}

const types: Record<string, string> = { j: 'address', g: 'group', s: 'subscription' };
/** In the order of the flags of a record. */
const stanzas = ['everything', 'requests', 'messages', 'presence in', 'presence out'];

function listLines({ lists, items, defaults }: UserRows): string[] {
  const names = new Set(lists.map(([name]) => name));
  const chosen = new Set(defaults.map(([name]) => name));
  const item = ([, t, value, action, ord, flags]: UserRows['items'][number]): string => {
    const who = t === 'n' ? 'everybody' : `${types[t ?? ''] ?? text(t)} ${quoted(value)}`;
    const what = stanzas.filter((_, i) => flags?.[i] === 't').join(', ') || 'nothing';
    return `  ${text(ord)}: ${action === 'd' ? 'deny' : action === 'a' ? 'allow' : text(action)} ${who}, ${what}`;
  };
  return [
    ...lists.flatMap(([name]) => {
      const of = items.filter(([list]) => list === name);
      const head = `List ${quoted(name)}${chosen.has(name ?? null) ? ', the default' : ''}`;
      return [of.length > 0 ? head : `${head}: empty, so the service takes it for no list`, ...of.map(item)];
    }),
    ...defaults.flatMap(([name]) => (names.has(name ?? null) ? [] : [`The default ${quoted(name)} names no list`])),
  ];
}
