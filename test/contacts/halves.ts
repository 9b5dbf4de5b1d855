import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach } from 'vitest';
import { Database } from '../../activities/contacts/database.ts';
import { mendSubscriptions, type MendRequest } from '../../activities/contacts/mend.ts';
import type { PairCounts } from '../../workflows/model/subscriptions.ts';
import { preparedDatabases, type ScratchDatabase } from '../rig/databases.ts';

/** East was lost and its users restored at west, whose own users went on. `l…` are of the lost half, `c…` are current. */

export const DOMAIN = 'contoso.example';
let scratch: { east: ScratchDatabase; west: ScratchDatabase };
export let database: Database;

/** For each test of a file anew. */
export function halvesForEach(): void {
  beforeEach(async () => {
    scratch = await preparedDatabases();
    database = new Database('west', scratch.west.url, { connections: 4, connectMs: 5000, statementMs: 60_000 });
  });
  afterEach(async () => {
    await database.close();
    await Promise.all([scratch.east.drop(), scratch.west.drop()]);
  });
}

const request = (change: Partial<MendRequest> = {}): MendRequest => ({
  customer: 'contoso',
  domain: DOMAIN,
  lost: ['east'],
  current: ['west'],
  limit: 250,
  keys: { current: 'k1', ring: new Map([['k1', randomBytes(32)]]) },
  heartbeat: () => undefined,
  signal: new AbortController().signal,
  ...change,
});
export const mend = (change: Partial<MendRequest> = {}): Promise<PairCounts> =>
  database.transaction((client) => mendSubscriptions(client, request(change)));
export const nothing: PairCounts = {
  pairs: 0,
  pairsDisagreed: 0,
  pairsMended: 0,
  pairsBlocked: 0,
  pairsOverLimit: 0,
  pairsOneSided: 0,
  pairsWithin: 0,
  pairsElsewhere: 0,
};

export async function people(...names: string[]): Promise<void> {
  await database.query(
    `insert into tandem.home select name, case when name like 'l%' then 'east' else 'west' end from unnest($1::text[]) name
     on conflict do nothing`,
    [names],
  );
}
/** `state`: subscription and ask. */
export async function contact(owner: string, other: string, state: string, nick = '', askmessage = ''): Promise<void> {
  const jid = other.includes('@') ? other : `${other}@${DOMAIN}`;
  await database.query(
    `insert into rosterusers (username, jid, nick, subscription, ask, askmessage, server, subscribe, type)
     values ($1, $2, $3, $4, $5, $6, 'N', '', 'item')`,
    [owner, jid, nick, state[0], state[1], askmessage],
  );
}
export async function pair(lost: string, current: string, theirs: string | null, ours: string | null): Promise<void> {
  await people(lost, current);
  if (theirs !== null) await contact(lost, current, theirs);
  if (ours !== null) await contact(current, lost, ours);
}
/** A list of the owner's with one item. */
export async function list(
  owner: string,
  [type, value, action, flags]: string[],
  { name = 'l', inForce = false } = {},
): Promise<void> {
  const [all, iq, message, presenceIn, presenceOut] = Array.from(flags ?? '', (flag) => flag === 't');
  await database.query(
    `with list as (insert into privacy_list (username, name) values ($1, $2) returning id)
     insert into privacy_list_data (id, t, value, action, ord, match_all, match_iq, match_message, match_presence_in, match_presence_out)
     select id, $3, $4, $5, 1, $6, $7, $8, $9, $10 from list`,
    [owner, name, type, value, action, all, iq, message, presenceIn, presenceOut],
  );
  if (inForce) await database.query('insert into privacy_default_list (username, name) values ($1, $2)', [owner, name]);
}
export async function stateOf(owner: string, other: string): Promise<string | null> {
  const rows = await database.query<{ state: string }>(
    'select subscription || ask as state from rosterusers where username = $1 and jid = $2',
    [owner, `${other}@${DOMAIN}`],
  );
  return rows[0]?.state ?? null;
}
export const all = (where: string): Promise<unknown[]> =>
  database.query(`select r.*, r.ctid::text from rosterusers r where ${where} order by username, jid`);

export const letters = ['N', 'T', 'F', 'B'].flatMap((s) => ['N', 'O', 'I', 'B'].map((a) => s + a));
export const states: (string | null)[] = [null, ...letters];
