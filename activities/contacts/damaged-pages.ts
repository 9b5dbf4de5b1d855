import { failure, failureKind } from '../../workflows/model/failures.ts';
import type { Database } from './database.ts';
import { tableNames } from './tables.ts';

/** Pages of a table from the first up to, and without, the next. */
export interface Pages {
  first: number;
  next: number;
}

/** What of the service's tables a server can still read, when its disk has been damaged. */
export interface Readable {
  /** By table; in order. */
  pages: ReadonlyMap<string, readonly Pages[]>;
  /** What is missing, for people. */
  missing: string;
}

/** Beyond this the disk is no source of anything, and to look for what is left takes longer than the backup. */
const MOST_DAMAGED = 1000;

/**
 * No index, which may be what is damaged, and which leads into pages that cannot be read; and of a table no more than is asked for.
 */
export const AROUND_DAMAGE = `set local enable_indexscan = off; set local enable_indexonlyscan = off;
  set local enable_bitmapscan = off; set local enable_seqscan = off`;

/** Finds out page by page, by halves: a table that is whole is read once. `database-damaged` when it is too many, or not these tables. */
export async function findReadable(database: Database, signal: AbortSignal, beat: () => void): Promise<Readable> {
  const pages = new Map<string, Pages[]>();
  const missing: string[] = [];
  for (const table of tableNames) {
    const [size] = await database.query<{ pages: number }>(
      "select (pg_relation_size(to_regclass($1)) / current_setting('block_size')::int)::int as pages",
      [table],
    );
    const all = size?.pages ?? 0;
    const readable = await readableOf(database, table, { first: 0, next: all }, signal, beat);
    const lost = all - readable.reduce((sum, { first, next }) => sum + next - first, 0);
    if (lost > 0) missing.push(`${lost} of ${all} pages of ${table}`);
    pages.set(table, readable);
  }
  // A table that has no page left, or an index alone, is damage as well.
  const what = missing.length > 0 ? `${missing.join(', ')} cannot be read` : 'each page of its tables can be read now';
  return { pages, missing: `its disk is damaged: ${what}` };
}

async function readableOf(
  database: Database,
  table: string,
  all: Pages,
  signal: AbortSignal,
  beat: () => void,
): Promise<Pages[]> {
  const found: Pages[] = [];
  const open = all.next > all.first ? [all] : [];
  let damaged = 0;
  for (let part = open.pop(); part; part = open.pop()) {
    signal.throwIfAborted();
    beat();
    const { first, next } = part;
    if (await canRead(database, table, part)) {
      const before = found.at(-1);
      if (before?.next === first) before.next = next;
      else found.push({ ...part });
      continue;
    }
    const middle = Math.floor((first + next) / 2);
    if (next - first > 1) open.push({ first: middle, next }, { first, next: middle });
    else damaged += 1;
    if (damaged > MOST_DAMAGED)
      throw failure(
        'database-damaged',
        `${database.name}: more than ${MOST_DAMAGED} of ${all.next} pages of ${table} cannot be read, at most so many are passed over`,
      );
  }
  return found;
}

/** Every value of every row, those as well that lie apart from their row. */
async function canRead(database: Database, table: string, { first, next }: Pages): Promise<boolean> {
  try {
    await database.transaction(async (client) => {
      await client.query(AROUND_DAMAGE);
      await client.query(`select sum(octet_length(t::text)) from ${someOf(table, 't', [{ first, next }])}`);
    });
    return true;
  } catch (error) {
    if (failureKind(error) === 'database-damaged') return false;
    throw error;
  }
}

/** These pages of a table, in place of the table. */
export function someOf(table: string, alias: string, pages: readonly Pages[]): string {
  const parts = pages.map(
    ({ first, next }) => `select * from ${table} where ctid >= '(${first},0)' and ctid < '(${next},0)'`,
  );
  return `(${parts.length > 0 ? parts.join(' union all ') : `select * from ${table} where false`}) ${alias}`;
}

const NAMED = new RegExp(`\\b(${tableNames.join('|')}) ([a-z])\\b`, 'g');

/** The `from` of a query, with what can be read of each table in its place; as it stands when nothing is damaged. */
export const fromReadable = (from: string, readable: Pick<Readable, 'pages'> | undefined): string =>
  readable
    ? from.replaceAll(NAMED, (_, table: string, alias: string) => someOf(table, alias, readable.pages.get(table) ?? []))
    : from;
