import type { Client as PostgresClient } from 'pg';
import { unwatched, type Verdict, type Watch } from '../../../workflows/model/watch.ts';
import type { Database } from '../../contacts/database.ts';
import { ask, type Kept } from './kept.ts';
import type { Observer } from './seen.ts';

/** An older row says that nobody watches: the watch writes one each minute. */
export const STALE_MS = 150_000;
/** For so long a worker that starts goes on with what was watched before; a run may have recovered in a longer gap. */
const GAP_MS = 300_000;

export interface StoredWatch {
  peer: string;
  verdict: Verdict | null;
  since: string | null;
  silentSince: string | null;
  at: string;
  /** By the clock of the database, both times. */
  ageMs: number;
  observers: (Observer & { because?: string })[];
}

const SQL = `
  select site, verdict, since, silent_since, at, observers,
         round(extract(epoch from clock_timestamp() - at) * 1000)::float8 as age_ms
    from tandem.watched where customer = $1 and site = $2`;

interface Row {
  site: string;
  verdict: Verdict | null;
  since: Date | null;
  silent_since: Date | null;
  at: Date;
  observers: StoredWatch['observers'];
  age_ms: number;
}

const stored = (row: Row | undefined): StoredWatch | null =>
  row
    ? {
        peer: row.site,
        verdict: row.verdict,
        since: row.since?.toISOString() ?? null,
        silentSince: row.silent_since?.toISOString() ?? null,
        at: row.at.toISOString(),
        ageMs: row.age_ms,
        observers: row.observers,
      }
    : null;

/** What the watch of this site has written of a customer's peer; null when it never did. */
export async function readWatched(database: Database, customer: string, peer: string): Promise<StoredWatch | null> {
  return stored((await database.query<Row>(SQL, [customer, peer]))[0]);
}

/** What a worker that starts goes on with: what it was that was settled, and since when, while nobody paused for long. */
export async function resumeWatch(
  database: Kept<PostgresClient>,
  customer: string,
  peer: string,
  signal: AbortSignal,
): Promise<Watch> {
  const found = stored((await ask<Row>(database, signal, SQL, [customer, peer]))[0]);
  if (!found || found.ageMs > GAP_MS || found.ageMs < 0) return unwatched;
  const { verdict, since, silentSince } = found;
  const serves = verdict === 'serving';
  return { ...unwatched, settled: verdict, since, silentSince, failingSince: serves ? null : since };
}

/** Into the database of this very site only, whatever its address leads to. */
export async function writeWatched(
  database: Kept<PostgresClient>,
  key: { customer: string; site: string; peer: string },
  { settled, since, silentSince }: Watch,
  observers: StoredWatch['observers'],
  signal: AbortSignal,
): Promise<void> {
  await ask(
    database,
    signal,
    `insert into tandem.watched (customer, site, verdict, since, silent_since, at, observers)
     select $1::text, $2::text, $3::text, $4::timestamptz, $5::timestamptz, clock_timestamp(), $6::jsonb
       from tandem.identity i where i.customer = $1 and i.site = $7
     on conflict (customer, site) do update set verdict = excluded.verdict, since = excluded.since,
       silent_since = excluded.silent_since, at = excluded.at, observers = excluded.observers`,
    [key.customer, key.peer, settled, since, silentSince, JSON.stringify(observers), key.site],
  );
}
