import type { Database } from '../contacts/database.ts';

/** A row's place in the order in which an archive is read: ejabberd's microseconds, and the number of the row. */
export interface Place {
  at: number;
  id: number;
}

/** Rows of some halves, among so many rows of an archive. What they say stays in the database until it is asked for. */
export interface Window {
  rows: (Place & { bytes: number })[];
  /** The same rows for `tandem.archive_lacks`: user, timestamp and digest. */
  told: string;
  /** The last row that was looked at, of whomever; null: there is none after `after`. */
  end: Place | null;
}

/** Rows that one statement looks at, of whomever: it takes the same time however few of them are wanted. */
const WINDOW = 5000;

/** By the index on `timestamp`, so that no statement reads more than its window. */
export const WINDOW_AFTER = `
  with looked as materialized (
    select a.timestamp, a.id, a.username, h.username is not null as wanted,
           octet_length(a.xml) + coalesce(octet_length(a.txt), 0) as bytes,
           case when h.username is not null then tandem.archive_digest(a.peer, a.kind, a.xml) end as digest
      from (select * from public.archive where (timestamp, id) > ($1, $2)
             order by timestamp, id limit $4) a
      left join tandem.home h on h.username = a.username and h.site = any($3))
  select (select jsonb_build_object('at', timestamp, 'id', id) from looked order by looked.timestamp desc, looked.id desc limit 1) as end,
         (select coalesce(jsonb_agg(jsonb_build_object('at', timestamp, 'id', id, 'bytes', bytes) order by looked.timestamp, looked.id), '[]')
            from looked where wanted) as rows,
         (select coalesce(jsonb_agg(jsonb_build_array(username, timestamp, digest) order by looked.timestamp, looked.id), '[]')::text
            from looked where wanted) as told`;

/** The next rows of an archive, in the order of time. */
export async function readWindow(
  database: Database,
  { after, halves, size = WINDOW }: { after: Place; halves: readonly string[]; size?: number | undefined },
): Promise<Window> {
  const [row] = await database.query<Window>(WINDOW_AFTER, [after.at, after.id, halves, size]);
  return row ?? { rows: [], told: '[]', end: null };
}

/** These rows whole, each as a JSON object by the names of its columns. */
export async function readRows(database: Database, places: readonly Place[]): Promise<string> {
  const [row] = await database.query<{ rows: string }>(
    `select coalesce(jsonb_agg(to_jsonb(a) - 'id' order by a.timestamp, a.id), '[]')::text as rows
       from unnest($1::bigint[], $2::bigint[]) w (at, id)
       join public.archive a on a.timestamp = w.at and a.id = w.id`,
    [places.map(({ at }) => at), places.map(({ id }) => id)],
  );
  return row?.rows ?? '[]';
}

/** Pieces of at most so many rows and bytes: what is under way never takes more memory than one, however large a window is. */
export function* pieces<Row extends { bytes: number }>(
  rows: readonly Row[],
  { most = 1000, bytes = 2_000_000 }: { most?: number | undefined; bytes?: number } = {},
): Generator<Row[]> {
  let piece: Row[] = [];
  let size = 0;
  for (const row of rows) {
    if (piece.length > 0 && (piece.length >= most || size + row.bytes > bytes)) {
      yield piece;
      [piece, size] = [[], 0];
    }
    piece.push(row);
    size += row.bytes;
  }
  if (piece.length > 0) yield piece;
}
