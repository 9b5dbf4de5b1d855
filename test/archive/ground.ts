import type { Database } from '../../activities/contacts/database.ts';

export const DAY = 24 * 3_600_000;

/** As /usr/share/ejabberd/sql/pg.sql has it. */
export const ARCHIVE = `
  create table public.archive (
    username text not null, timestamp bigint not null, peer text not null, bare_peer text not null, xml text not null,
    txt text, id serial, kind text, nick text, created_at timestamp not null default now());
  create index i_username_timestamp on public.archive using btree (username, timestamp);
  create index i_timestamp on public.archive using btree (timestamp);`;

/** ejabberd counts microseconds. */
export const nowUs = (): number => Date.now() * 1000;

export interface Archived {
  username: string;
  timestamp: string;
  xml: string;
}

/** What an archive has, in the order of time, each row whole but for its number. */
export async function archived(database: Database): Promise<Archived[]> {
  const rows = await database.query<{ row: Archived }>(
    `select to_jsonb(a) - 'id' || jsonb_build_object('timestamp', a.timestamp::text) as row from public.archive a order by a.timestamp, a.username, a.xml`,
  );
  return rows.map(({ row }) => row);
}

/** So many messages of one user, a millisecond apart from that age on; or copies of rows that another archive has. */
export async function fill(
  database: Database,
  of: { rows: number; user: string; ageDays: number } | { copies: readonly Archived[] },
): Promise<void> {
  if ('copies' in of) {
    await database.query(
      `insert into public.archive (username, timestamp, peer, bare_peer, xml, txt, kind, nick, created_at)
       select username, timestamp, peer, bare_peer, xml, txt, kind, nick, created_at from jsonb_populate_recordset(null::public.archive, $1)`,
      [JSON.stringify(of.copies)],
    );
    return;
  }
  await database.query(
    `insert into public.archive (username, timestamp, peer, bare_peer, xml, txt, kind)
     select $2::text, $3::bigint + n * 1000, 'p@contoso.example', 'p@contoso.example', '<message>word ' || n || ' of ' || $2 || '</message>', 'word ' || n, 'chat'
       from generate_series(1, $1::int) n`,
    [of.rows, of.user, nowUs() - Math.round(of.ageDays * DAY * 1000)],
  );
}
