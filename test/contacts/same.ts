import type { Site, World } from '../vault/world.ts';

/** What each table holds, over all columns but `id` and `created_at`. */
const tables = {
  rosterusers: 'select username, jid, nick, subscription, ask, askmessage, server, subscribe, type from rosterusers',
  rostergroups: 'select username, jid, grp from rostergroups',
  privacy_list: 'select username, name from privacy_list',
  privacy_list_data: `select l.username, l.name, d.t, d.value, d.action, d.ord, d.match_all, d.match_iq, d.match_message,
    d.match_presence_in, d.match_presence_out from privacy_list l join privacy_list_data d using (id)`,
  privacy_default_list: 'select username, name from privacy_default_list',
};

/** A copy of a site's rows of one half, made by plain SQL. */
export type Copy = Record<keyof typeof tables, string>;

export async function copyRows(world: World, at: Site, half: Site): Promise<Copy> {
  const found: Record<string, string> = {};
  for (const [table, sql] of Object.entries(tables)) {
    const [row] = await world.sql(
      at,
      `select coalesce(json_agg(x), '[]')::text as rows from (${sql}) x
        where exists (select from tandem.home h where h.username = x.username and h.site = $1)`,
      [half],
    );
    found[table] = String(row?.['rows']);
  }
  return found as Copy;
}

/** Rows of a copy that a site lacks, and rows it has too many, counted by EXCEPT ALL both ways. */
export async function differences(world: World, at: Site, half: Site, copy: Copy): Promise<number> {
  let sum = 0;
  for (const [table, sql] of Object.entries(tables)) {
    const here = `select x.* from (${sql}) x join tandem.home h on h.username = x.username and h.site = $2`;
    const shape = `(select x.* from (${sql}) x where false union all select y.* from (select null::record) n, lateral (select * from json_to_recordset($1::json) as (${columns[table as keyof typeof tables]})) y)`;
    const [row] = await world.sql(
      at,
      `with here as (${here}), copy as ${shape}
       select ((select count(*) from (select * from here except all select * from copy) a)
             + (select count(*) from (select * from copy except all select * from here) b))::int as n`,
      [copy[table as keyof typeof tables], half],
    );
    sum += Number(row?.['n']);
  }
  return sum;
}

const columns: Record<keyof typeof tables, string> = {
  rosterusers: `username text, jid text, nick text, subscription char(1), ask char(1), askmessage text, server char(1), subscribe text, type text`,
  rostergroups: 'username text, jid text, grp text',
  privacy_list: 'username text, name text',
  privacy_list_data: `username text, name text, t char(1), value text, action char(1), ord numeric, match_all boolean, match_iq boolean,
    match_message boolean, match_presence_in boolean, match_presence_out boolean`,
  privacy_default_list: 'username text, name text',
};
