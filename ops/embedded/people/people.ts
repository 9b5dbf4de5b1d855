import { createHash } from 'node:crypto';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { Client } from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { Database } from '../../../activities/contacts/database.ts';
import { prepareContactDatabase } from '../../../activities/contacts/prepare.ts';
import { Fault } from '../../fault.ts';
import { makeContactTables } from '../postgres.ts';
import { keysOfAll } from './accounts.ts';
import { syntheticPeople } from './synthetic.ts';
import { personOf, withoutRows, type Cell, type LifeOptions, type Person } from './life.ts';

export interface PeopleOptions {
  seed: string;
  users: number;
  customer: string;
  sites: readonly [string, string];
  /** Contact databases by site, as the role that owns them. */
  urls: Record<string, string>;
  contacts?: LifeOptions['contacts'];
  /** With which all of them sign in; without one nobody does. */
  password?: string;
  /** The last of the users are those by which probes look. */
  synthetic?: boolean;
  /** Accounts and homes come from the customer's directory: they are not made here. */
  provisioned?: boolean;
}

export interface PeopleCounts {
  users: number;
  contacts: number;
  groups: number;
  aclItems: number;
}

const BATCH = 1000;
/** With the synthetic ones among them. */
const FEWEST = 24;

export function requireEnough(users: number): void {
  if (users < FEWEST)
    throw new Fault(
      `users: ${users}; at least ${FEWEST} are allowed`,
      'Twelve of them are those by which probes look.',
    );
}

const columns = {
  users: 'username, password, serverkey, salt, iterationcount',
  'tandem.home': 'username, site',
  rosterusers: 'username, jid, nick, subscription, ask, askmessage, server, subscribe, type',
  rostergroups: 'username, jid, grp',
  privacy_list: 'username, name, id',
  privacy_list_data:
    'id, t, value, action, ord, match_all, match_iq, match_message, match_presence_in, match_presence_out',
  privacy_default_list: 'username, name',
} as const;
type Table = keyof typeof columns;

/** The contact tables and schema `tandem`, in an empty database or one that has them. */
export async function prepareTables(
  url: string,
  customer: string,
  site: string,
  sites: readonly [string, string],
): Promise<void> {
  await makeContactTables(url);
  const database = new Database(`contacts of ${customer} at ${site}`, url, {
    connections: 1,
    connectMs: 5000,
    statementMs: 60_000,
  });
  try {
    await prepareContactDatabase(database, customer, site, sites);
  } finally {
    await database.close();
  }
}

/**
 * Fills both sites: accounts and homes of everybody at both, unless they are provisioned; contacts and ACLs at each user's
 * home. All of a site in one transaction. Answers what each site holds.
 */
export async function createPeople(options: PeopleOptions): Promise<Record<string, PeopleCounts>> {
  if (options.synthetic) requireEnough(options.users);
  const counts = await Promise.all(
    options.sites.map(async (site, half) => [site, await fillSite(options, site, half)] as const),
  );
  return Object.fromEntries(counts);
}

async function fillSite(options: PeopleOptions, site: string, half: number): Promise<PeopleCounts> {
  const { customer, sites, users, seed, urls, contacts, password, provisioned = false } = options;
  const account = provisioned ? null : accountsOf(seed, password);
  const url = urls[site] ?? '';
  await prepareTables(url, customer, site, sites);
  const counts: PeopleCounts = { users: 0, contacts: 0, groups: 0, aclItems: 0 };
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query('begin');
    // Ids of the same list differ between the sites, as they do in life.
    const ids = { next: 1000 + half * 4001 };
    const to = { sites, half, ids, counts, account };
    const domain = `${customer}.example`;
    const synthetic = options.synthetic ? syntheticPeople(domain, sites) : [];
    const madeUp = users - synthetic.length;
    const life: LifeOptions = { seed, users: madeUp, domain, ...(contacts !== undefined && { contacts }) };
    for (let first = 0; first < madeUp; first += BATCH) {
      const people = Array.from({ length: Math.min(BATCH, madeUp - first) }, (_, i) => {
        const person = withoutRows(first + i);
        return person.home === half ? personOf(first + i, life) : person;
      });
      await load(client, people, to);
    }
    if (synthetic.length > 0) await load(client, synthetic, to);
    await client.query("select setval(pg_get_serial_sequence('privacy_list', 'id'), $1)", [ids.next]);
    await client.query('commit');
    await client.query('analyze');
    return counts;
  } finally {
    await client.end();
  }
}

async function load(
  client: Client,
  people: Person[],
  to: {
    sites: readonly string[];
    half: number;
    ids: { next: number };
    counts: PeopleCounts;
    /** Null: they are not made here, nor homes. */
    account: ((username: string) => Cell[]) | null;
  },
): Promise<void> {
  const { sites, half, ids, counts, account } = to;
  const here = people.filter((p) => p.home === half);
  if (account) {
    await copy(
      client,
      'users',
      people.map((p) => account(p.username)),
    );
    await copy(
      client,
      'tandem.home',
      people.map((p) => [p.username, sites[p.home] ?? '']),
    );
  }
  await copy(
    client,
    'rosterusers',
    here.flatMap((p) => p.rosterusers),
  );
  await copy(
    client,
    'rostergroups',
    here.flatMap((p) => p.rostergroups),
  );
  const lists: Cell[][] = [];
  const items: Cell[][] = [];
  for (const person of here) {
    const first = ids.next;
    lists.push(...person.privacy_list.map((row, place) => [...row, first + place]));
    items.push(
      ...person.privacy_list_data.map(([place, ...row]) => [typeof place === 'number' ? first + place : null, ...row]),
    );
    ids.next += person.privacy_list.length;
  }
  await copy(client, 'privacy_list', lists);
  await copy(client, 'privacy_list_data', items);
  await copy(
    client,
    'privacy_default_list',
    here.flatMap((p) => p.privacy_default_list),
  );
  counts.users += here.length;
  counts.contacts += here.reduce((sum, p) => sum + p.rosterusers.length, 0);
  counts.groups += here.reduce((sum, p) => sum + p.rostergroups.length, 0);
  counts.aclItems += items.filter(([id]) => id !== null).length;
}

/** Accounts are the same at both sites. With a password for all, one derivation serves them all; else nobody can sign in. */
function accountsOf(seed: string, password: string | undefined): (username: string) => Cell[] {
  if (password !== undefined) {
    const keys = keysOfAll(seed, password);
    return (username) => [username, ...keys];
  }
  return (username) => {
    const part = (what: string): string => createHash('sha256').update(`${what}/${username}`).digest('base64');
    return [username, part('stored'), part('server'), part('salt').slice(0, 24), 4096];
  };
}

async function copy(client: Client, table: Table, rows: Cell[][]): Promise<void> {
  if (rows.length === 0) return;
  const text = rows.map((row) => `${row.map(cellText).join('\t')}\n`).join('');
  await pipeline(
    Readable.from([Buffer.from(text)]),
    client.query(copyFrom(`copy ${table} (${columns[table]}) from stdin`)),
  );
}

/** COPY's text format: its own escapes, and \N for NULL. */
function cellText(cell: Cell): string {
  if (cell === null) return '\\N';
  const escapes: Record<string, string> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' };
  return String(cell).replaceAll(/[\\\t\n\r]/g, (c) => escapes[c] ?? c);
}

/** Whether anybody lives in this contact database. */
export async function hasPeople(url: string): Promise<boolean> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<{ some: boolean }>('select exists (select from users) as some');
    return rows[0]?.some ?? false;
  } finally {
    await client.end();
  }
}
