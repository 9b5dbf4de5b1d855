import { createHash } from 'node:crypto';
import type { PoolClient } from 'pg';
import { isMomentary } from '../probes/services/momentary.ts';
import { preparedName } from '../contacts/jid.ts';
import type { Directory, Entitled } from './port.ts';
import { scramKeys, scramText } from './scram.ts';

/** What was met in an answer beside its users; none of it keeps the answer from being believed. */
export interface Oddities {
  /** Names that the service cannot have. */
  unusableNames: number;
  /** Entries that name a user whom another one names as well. */
  doubles: number;
  /** Attributes of keys that hold something else, or two that differ. */
  unusableKeys: number;
  /** Homes that are no site of the customer: the rule by name holds. */
  unknownHomes: number;
}

/** Username, home as the directory names it, home by the rule, keys. */
type Row = [string, string | null, string, string | null];

/**
 * Brings a whole answer into the temporary table `answer` of this connection, one row a user, holding a page at a time.
 * Throws what the directory throws; then there is no answer.
 */
export async function stageAnswer(
  client: PoolClient,
  directory: Directory,
  sites: readonly [string, string],
  signal: AbortSignal,
): Promise<Oddities> {
  const met = { unusableNames: 0, unusableKeys: 0, unknownHomes: 0 };
  await client.query('create temp table incoming (username text, home text, usual text, keys text)');
  for await (const page of directory.entitled(signal)) {
    const rows = page.flatMap((entry) => rowOf(entry, sites, met));
    const columns = ([0, 1, 2, 3] as const).map((column) => rows.map((row) => row[column]));
    await client.query(
      'insert into incoming select * from unnest($1::text[], $2::text[], $3::text[], $4::text[])',
      columns,
    );
  }
  // Of two entries for one user neither counts where they differ: no order of pages decides, and both sites do the same.
  await client.query(
    `create temp table answer as
       select username, coalesce(case when count(distinct home) = 1 then min(home) end, min(usual)) as home,
              case when count(distinct keys) = 1 then min(keys) end as keys
         from incoming group by username`,
  );
  await client.query('alter table answer add primary key (username)');
  const { rows } = await client.query<{ doubles: number }>(
    'select ((select count(*) from incoming) - (select count(*) from answer))::int as doubles',
  );
  await client.query('drop table incoming');
  await client.query('analyze answer');
  return { ...met, doubles: rows[0]?.doubles ?? 0 };
}

function rowOf(entry: Entitled, sites: readonly [string, string], met: Omit<Oddities, 'doubles'>): Row[] {
  const username = preparedName(entry.username.trim());
  if (username === null || isMomentary(username)) {
    met.unusableNames += 1;
    return [];
  }
  const keys = scramKeys(entry.credentials);
  if (keys === null && entry.credentials.length > 0) met.unusableKeys += 1;
  const home = entry.home?.trim().toLowerCase() ?? null;
  const known = home !== null && sites.includes(home);
  if (home !== null && !known) met.unknownHomes += 1;
  return [[username, known ? home : null, homeByName(username, sites), keys && scramText(keys)]];
}

/** Where a user is at home of whom nobody says it: the same at both sites, whichever of them the configuration names first. */
export function homeByName(username: string, sites: readonly [string, string]): string {
  const [first, second] = sites.toSorted() as [string, string];
  const [byte = 0] = createHash('sha256').update(username).digest();
  return byte % 2 === 0 ? first : second;
}
