import { afterEach, beforeEach } from 'vitest';
import { Database } from '../../activities/contacts/database.ts';
import { directoryState, type DirectoryState } from '../../activities/directory/answer.ts';
import type { Outcome } from '../../activities/directory/apply.ts';
import { followDirectory } from '../../activities/directory/follow.ts';
import type { Directory, Entitled } from '../../activities/directory/port.ts';
import { preparedDatabases, type ScratchDatabase, type Site } from '../rig/databases.ts';

/** Two sites with a real database each, and a directory that says what a test wants it to. */

export const CUSTOMER = 'contoso';
export const pair: readonly [Site, Site] = ['east', 'west'];
const never = new AbortController().signal;

let scratch: Record<Site, ScratchDatabase>;
export let databases: Record<Site, Database>;

/** What the directory says now. */
export const people = new Map<string, Partial<Entitled>>();
/** What it ends with, behind the people; null: well. */
export const end: { with: Error | null } = { with: null };

/** For each test of a file anew. */
export function groundForEach(): void {
  beforeEach(async () => {
    scratch = await preparedDatabases();
    const open = (site: Site): Database =>
      new Database(site, scratch[site].url, { connections: 2, connectMs: 3000, statementMs: 20_000 });
    databases = { east: open('east'), west: open('west') };
    people.clear();
    end.with = null;
  });
  afterEach(async () => {
    await Promise.all(pair.map((site) => databases[site].close()));
    await Promise.all(pair.map((site) => scratch[site].drop()));
  });
}

const asked: Directory = {
  name: 'directory of the test',
  // oxlint-disable-next-line require-await -- The port is of answers that come in time; these are here already.
  async *entitled() {
    const all = [...people].map(([username, rest]) => ({ username, home: null, credentials: [], ...rest }));
    for (let i = 0; i < all.length; i += 50) yield all.slice(i, i + 50);
    if (end.with) throw end.with;
  },
};

export const follow = (site: Site = 'west', removalsShare = 0.02): Promise<Outcome> =>
  followDirectory({
    site,
    customer: { id: CUSTOMER, sites: pair, databaseUrl: scratch[site].url },
    settings: { source: { kind: 'table' }, everyMs: 300_000, removalsShare },
    signal: never,
    open: () => asked,
  });

export const query = <Row extends Record<string, unknown>>(text: string, site: Site = 'west'): Promise<Row[]> =>
  databases[site].query<Row>(text);

export const state = (site: Site = 'west'): Promise<DirectoryState | null> => directoryState(databases[site], CUSTOMER);

const count = async (what: string, site: Site): Promise<number> =>
  (await query<{ n: number }>(`select count(*)::int as n from ${what}`, site))[0]?.n ?? -1;

/** Whom a site may serve. */
export const served = (site: Site = 'west'): Promise<number> =>
  count('tandem.home where tandem.may_serve(username)', site);

export const enabled = (site: Site = 'west'): Promise<number> => count('tandem.entitlement where enabled', site);

export function add(users: number, rest: Partial<Entitled> = {}): void {
  for (let i = people.size, last = people.size + users; i < last; i += 1) people.set(`user${i}`, rest);
}

/** Those who were added last. */
export function remove(users: number): void {
  for (const name of [...people.keys()].slice(-users)) people.delete(name);
}

/** As if all that was disabled had been so for a day. */
export const aDayLater = (): Promise<unknown> =>
  query("update tandem.entitlement set since = since - interval '1 day'");
