import type { PoolClient } from 'pg';
import { duration } from '../../workflows/model/rto.ts';
import { ageMs, type Timestamp } from '../../workflows/model/snapshots.ts';
import type { Database } from '../contacts/database.ts';
import type { Oddities } from './staging.ts';

/** What the last good answer came to at this site. Numbers only. */
export interface AnswerCounts extends Oddities {
  /** Whom it entitles. */
  users: number;
  enabled: number;
  disabled: number;
  /** New users who got a home here. */
  homes: number;
  /** Accounts that were made or given other keys; null where the database has no table of accounts. */
  accounts: number | null;
  /** Entitled, and without an account: the directory gives no keys. They cannot sign in. */
  withoutAccount: number;
}

/** An answer that is not believed: it would disable too many. */
export interface HeldAnswer {
  since: Timestamp;
  /** Whom it would disable, without those whom an operator has accepted. */
  removed: number;
  /** Disabled within the hour before. */
  before: number;
  /** Users of the last good answer, as of an hour before. */
  of: number;
  limit: number;
  /** SHA-256 of the names of all whom it would disable. */
  digest: string;
}

/** How a customer's directory stands at one site. */
export interface DirectoryState {
  /** When the last good answer was asked for; null when there never was one. */
  at: Timestamp | null;
  users: number;
  digest: string | null;
  /** Since when it goes by this digest; null when that is not known. */
  digestAt: Timestamp | null;
  counts: AnswerCounts | null;
  /** Users who are disabled here now. */
  disabled: number;
  triedAt: Timestamp;
  failed: string | null;
  held: HeldAnswer | null;
  /** Users of the held answer whose removal an operator has accepted. */
  accepted: number;
}

interface StateRow extends Omit<DirectoryState, 'at' | 'digestAt' | 'triedAt'> {
  at: Date | null;
  digestAt: Date | null;
  triedAt: Date;
}

/** Null when the directory was never asked here. */
export async function readState(client: Pick<PoolClient, 'query'>, customer: string): Promise<DirectoryState | null> {
  const { rows } = await client.query<StateRow>(
    `select at, users, digest, digest_at as "digestAt", counts, tried_at as "triedAt", failed, held,
            (select count(*)::int from tandem.entitlement where not enabled) as disabled,
            (select count(*)::int from tandem.directory_removal where accepted is not null) as accepted
       from tandem.directory_answer where customer = $1`,
    [customer],
  );
  const [row] = rows;
  if (!row) return null;
  const { at, digestAt, triedAt } = row;
  return {
    ...row,
    at: at?.toISOString() ?? null,
    digestAt: digestAt?.toISOString() ?? null,
    triedAt: triedAt.toISOString(),
  };
}

/** For `tandem status`, metrics and `tandem directory show`. */
export const directoryState = (database: Database, customer: string): Promise<DirectoryState | null> =>
  database.connection((client) => readState(client, customer));

/** So many turns of the follower may fail before the answer in force is called old. */
const TURNS = 3;

/** Whether the follower should have had a later one by now, whatever it says of it: it may not run at all. */
export const isOld = ({ at }: Pick<DirectoryState, 'at'>, everyMs: number, now: number): boolean =>
  at !== null && ageMs(at, now) > TURNS * everyMs;

/** How old the answer in force is and why there is no newer one, in a line for people. */
export function tellState(state: DirectoryState | null, now: number): string {
  if (!state?.at) {
    const why = state?.held ? tellHeld(state.held) : state?.failed;
    return `the directory was never believed at this site, and nobody is disabled by it${why ? ` (${why})` : ''}`;
  }
  const { at, users, disabled, failed, held } = state;
  const stands = `the directory's last good answer is ${duration(ageMs(at, now))} old: ${users} users entitled, ${disabled} disabled`;
  if (held) return `${stands}; a later one is held: ${tellHeld(held)}`;
  return failed === null ? stands : `${stands}; it gives no later one: ${failed}`;
}

export function tellHeld({ removed, before, of, limit }: HeldAnswer): string {
  const since = before > 0 ? ` after ${before} within the hour before` : '';
  return `it would disable ${removed} of ${of} users${since}, ${limit} are allowed without an operator`;
}
