import { ARCHIVE } from '../../archive/ground.ts';
import { sql } from '../../rig/sql.ts';

/** What is archived for the users of a walk, where no ejabberd does it. */

const MESSAGES = 2500;

/** Makes the service's table where it is not. */
export async function makeArchive(url: string): Promise<void> {
  const there = await sql(url, `select where to_regclass('public.archive') is not null`);
  if (there.length === 0) await sql(url, ARCHIVE);
}

/** Some more messages of the users of a half, of this moment. */
export async function say(url: string, half: string): Promise<void> {
  await sql(
    url,
    `insert into public.archive (username, timestamp, peer, bare_peer, xml, txt, kind)
     select h.username, (extract(epoch from clock_timestamp()) * 1000000)::bigint + n, 'p@x', 'p@x', '<message>' || n || '</message>', 'n' || n, 'chat'
       from generate_series(1, ${MESSAGES}) n
       join lateral (select username from tandem.home where site = '${half}' order by username offset n % 20 limit 1) h on true`,
  );
}

/** What one site has of them, and another not, or more than once; each as a sentence. */
export async function notBrought(urls: { from: string; to: string }, half: string): Promise<string[]> {
  const rows = (url: string): Promise<{ row: string }[]> =>
    sql<{ row: string }>(
      url,
      `select (to_jsonb(a) - 'id')::text as row from public.archive a join tandem.home h on h.username = a.username and h.site = '${half}'`,
    );
  const [here, there] = [await rows(urls.from), await rows(urls.to)].map((all) => all.map(({ row }) => row));
  const [has, known] = [new Set(there), there?.length ?? 0];
  const lacking = here?.filter((row) => !has.has(row)).length ?? 0;
  return [
    ...(lacking > 0 ? [`${lacking} archived messages were not brought`] : []),
    ...(known > has.size ? [`${known - has.size} archived messages are there twice`] : []),
  ];
}
