import fc from 'fast-check';
import type { Database } from '../../activities/contacts/database.ts';

/** What people of a week have, and what they do to it at either site. All of it by plain SQL: nothing of ours reads or writes it. */

export const ADDRESSES = Array.from({ length: 5 }, (_, n) => `p${n}@x.example`);
const BLOCKABLE = ['b0@y.example', 'b1@y.example', 'spam.example', ADDRESSES[0] ?? ''];
const NICKS = ['', 'Ann', 'Bo'];
const STATES = ['B', 'T', 'F', 'N'];
const GROUPS = ['Friends', 'Work'];

export interface Kept {
  jid: string;
  nick: string;
  state: string;
  groups: string[];
}

type Deed =
  | { does: 'add'; kept: Kept }
  | { does: 'rename'; jid: string; nick: string }
  | { does: 'remove'; jid: string }
  | { does: 'group' | 'ungroup'; jid: string; group: string }
  | { does: 'block' | 'unblock'; who: string };

/** One user: what he had when the last snapshot was taken, what he did after it, and each day at the other site. */
export interface Script {
  had: Kept[];
  blocked: string[];
  unsent: Deed[];
  days: Deed[][];
}

const jid = fc.constantFrom(...ADDRESSES);
const kept = fc.record({
  jid,
  nick: fc.constantFrom(...NICKS),
  state: fc.constantFrom(...STATES),
  groups: fc.subarray(GROUPS),
});
const deed: fc.Arbitrary<Deed> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ does: fc.constant('add' as const), kept }) },
  { weight: 3, arbitrary: fc.record({ does: fc.constant('rename' as const), jid, nick: fc.constantFrom(...NICKS) }) },
  { weight: 2, arbitrary: fc.record({ does: fc.constant('remove' as const), jid }) },
  {
    weight: 2,
    arbitrary: fc.record({
      does: fc.constantFrom('group' as const, 'ungroup' as const),
      jid,
      group: fc.constantFrom(...GROUPS),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      does: fc.constantFrom('block' as const, 'unblock' as const),
      who: fc.constantFrom(...BLOCKABLE),
    }),
  },
);

/** The same ones for the same seed. */
export function scriptsOf({ seed, users, days }: { seed: number; users: number; days: number }): Script[] {
  const script = fc.record({
    had: fc.uniqueArray(kept, { selector: (one) => one.jid, maxLength: 5 }),
    blocked: fc.subarray(BLOCKABLE),
    // Some have done nothing in the last hour: their disk has no word about them.
    unsent: fc.oneof(
      { weight: 1, arbitrary: fc.constant<Deed[]>([]) },
      { weight: 2, arbitrary: fc.array(deed, { minLength: 1, maxLength: 6 }) },
    ),
    days: fc.array(fc.array(deed, { maxLength: 2 }), { minLength: days, maxLength: days }),
  });
  return fc.sample(script, { seed, numRuns: users });
}

const text = (value: string): string => `'${value.replaceAll("'", "''")}'`;

const put = (who: string, { jid: address, nick, state, groups }: Kept): string =>
  `insert into rosterusers (username, jid, nick, subscription, ask, askmessage, server, subscribe, type)
     values (${text(who)}, ${text(address)}, ${text(nick)}, '${state}', 'N', '', 'N', '', 'item') on conflict do nothing;` +
  groups.map((group) => intoGroup(who, address, group)).join('');
const intoGroup = (who: string, address: string, group: string): string =>
  `insert into rostergroups (username, jid, grp) select username, jid, ${text(group)} from rosterusers r
    where username = ${text(who)} and jid = ${text(address)}
      and not exists (select from rostergroups g where g.username = r.username and g.jid = r.jid and g.grp = ${text(group)});`;
const block = (who: string, whom: string): string =>
  `insert into privacy_list (username, name) values (${text(who)}, 'block') on conflict do nothing;
   insert into privacy_default_list (username, name) values (${text(who)}, 'block') on conflict do nothing;
   insert into privacy_list_data (id, t, value, action, ord, match_all, match_iq, match_message, match_presence_in, match_presence_out)
     select l.id, 'j', ${text(whom)}, 'd', coalesce((select max(ord) from privacy_list_data d where d.id = l.id), 0) + 1,
            true, false, false, false, false
       from privacy_list l where username = ${text(who)}
        and not exists (select from privacy_list_data d where d.id = l.id and d.value = ${text(whom)});`;

function done(who: string, it: Deed): string {
  const of = (address: string): string => `username = ${text(who)} and jid = ${text(address)}`;
  switch (it.does) {
    case 'add':
      return put(who, it.kept);
    case 'rename':
      return `update rosterusers set nick = ${text(it.nick)} where ${of(it.jid)};`;
    case 'remove':
      return `delete from rostergroups where ${of(it.jid)}; delete from rosterusers where ${of(it.jid)};`;
    case 'group':
      return intoGroup(who, it.jid, it.group);
    case 'ungroup':
      return `delete from rostergroups where ${of(it.jid)} and grp = ${text(it.group)};`;
    case 'block':
      return block(who, it.who);
    case 'unblock':
      return `delete from privacy_list_data d using privacy_list l
               where l.id = d.id and l.username = ${text(who)} and d.value = ${text(it.who)};`;
    default:
      return it satisfies never;
  }
}

export const having = (who: string, { had, blocked }: Pick<Script, 'had' | 'blocked'>): string =>
  had.map((one) => put(who, one)).join('') + blocked.map((whom) => block(who, whom)).join('');
export const doing = (who: string, deeds: readonly Deed[]): string => deeds.map((one) => done(who, one)).join('');

/** One user as a site's tables have him: rows as JSON texts, without the numbers of list items. */
export interface Person {
  contacts: Map<string, string>;
  /** `jid group`. */
  groups: Set<string>;
  /** `[list, type, value, action, flags]`. */
  items: Set<string>;
  lists: Set<string>;
  fallback: string | null;
  /** Items with their numbers: no two of them mean another thing by these alone. */
  numbered: string;
}

const READ = `
  select h.username,
         (select coalesce(json_object_agg(r.jid, json_build_array(r.nick, r.subscription, r.ask, r.askmessage, r.server, r.subscribe, r.type)), '{}')
            from rosterusers r where r.username = h.username) as contacts,
         array(select g.jid || ' ' || g.grp from rostergroups g where g.username = h.username) as groups,
         array(select json_build_array(l.name, d.t, d.value, d.action, d.match_all)::text
                 from privacy_list l join privacy_list_data d using (id) where l.username = h.username) as items,
         (select coalesce(json_agg(json_build_array(l.name, d.value, d.ord) order by l.name, d.value), '[]')::text
            from privacy_list l join privacy_list_data d using (id) where l.username = h.username) as numbered,
         array(select l.name from privacy_list l where l.username = h.username) as lists,
         (select p.name from privacy_default_list p where p.username = h.username) as fallback
    from tandem.home h`;

/** Everybody whom a site's database knows. */
export async function peopleAt(database: Database): Promise<Map<string, Person>> {
  const rows = await database.query<{
    username: string;
    contacts: Record<string, unknown>;
    groups: string[];
    items: string[];
    lists: string[];
    fallback: string | null;
    numbered: string;
  }>(READ);
  return new Map(
    rows.map(({ username, contacts, groups, items, lists, ...rest }) => [
      username,
      {
        contacts: new Map(Object.entries(contacts).map(([address, row]) => [address, JSON.stringify(row)])),
        groups: new Set(groups),
        items: new Set(items.map((item) => JSON.stringify(JSON.parse(item)))),
        lists: new Set(lists),
        ...rest,
      },
    ]),
  );
}

/** Comparable. */
export const plain = ({ contacts, groups, items, lists, fallback }: Person): unknown => ({
  contacts: [...contacts].toSorted(([a], [b]) => (a < b ? -1 : 1)),
  groups: [...groups].toSorted(),
  items: [...items].toSorted(),
  lists: [...lists].toSorted(),
  fallback,
});
export const sameAs = (a: Person, b: Person): boolean => JSON.stringify(plain(a)) === JSON.stringify(plain(b));
export const nobody = (): Person => ({
  contacts: new Map(),
  groups: new Set(),
  items: new Set(),
  lists: new Set(),
  fallback: null,
  numbered: '[]',
});
