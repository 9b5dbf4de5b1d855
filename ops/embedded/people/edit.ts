import { Client } from 'pg';
import { usernameOf } from './life.ts';

/** Lets users of one half change something, as they do between two snapshots: a contact less, one more, a name, a block. */
export async function editPeople({
  seed,
  url,
  site,
  users,
}: {
  seed: string;
  url: string;
  site: string;
  users: number;
}): Promise<number> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query('begin');
    const { rows } = await client.query<{ username: string }>(
      `select username from tandem.home where site = $1 and username not like 'probe-%' order by md5($2 || username) limit $3`,
      [site, seed, users],
    );
    const names = rows.map((r) => r.username);
    await client.query(
      'delete from rosterusers r using (select username, min(jid) as jid from rosterusers where username = any($1) group by 1) f where (r.username, r.jid) = (f.username, f.jid)',
      [names],
    );
    await client.query(`update rosterusers set nick = nick || ' (new)' where username = any($1)`, [names]);
    await client.query(
      `insert into rosterusers (username, jid, nick, subscription, ask, askmessage, server, subscribe, type)
         select u, 'late-' || $2 || '@partner.example', 'late', 'B', 'N', '', 'N', '', 'item' from unnest($1::text[]) u on conflict do nothing`,
      [names, usernameOf(users)],
    );
    await client.query(
      `insert into privacy_list (username, name) select u, 'Blocked contacts' from unnest($1::text[]) u on conflict do nothing`,
      [names],
    );
    await client.query(
      `insert into privacy_list_data (id, t, value, action, ord, match_all, match_iq, match_message, match_presence_in, match_presence_out)
         select id, 'j', 'late@evil.example', 'd', 0, true, false, false, false, false from privacy_list where username = any($1) and name = 'Blocked contacts'`,
      [names],
    );
    await client.query('commit');
    return names.length;
  } finally {
    await client.end();
  }
}
