import { pipeline } from 'node:stream/promises';
import { Client } from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';

/**
 * The demo's own witness: a copy of one site's contacts and ACLs, made by plain SQL and by none of Tandem's readers, and
 * kept in a schema of the other site's database, so that one query can compare them row by row.
 */

/** Each table as a user sees it: all columns but `id` and `created_at`; lists by name, because ids differ between sites. */
const tables: Record<string, { columns: string; rows: string }> = {
  rosterusers: {
    columns: 'username, jid, nick, subscription, ask, askmessage, server, subscribe, type',
    rows: 'select username, jid, nick, subscription, ask, askmessage, server, subscribe, type from rosterusers',
  },
  rostergroups: { columns: 'username, jid, grp', rows: 'select username, jid, grp from rostergroups' },
  privacy_list: { columns: 'username, name', rows: 'select username, name from privacy_list' },
  privacy_list_data: {
    columns:
      'username, name, t, value, action, ord, match_all, match_iq, match_message, match_presence_in, match_presence_out',
    rows: `select l.username, l.name, d.t, d.value, d.action, d.ord, d.match_all, d.match_iq, d.match_message, d.match_presence_in, d.match_presence_out
             from privacy_list_data d join privacy_list l on l.id = d.id`,
  },
  privacy_default_list: { columns: 'username, name', rows: 'select username, name from privacy_default_list' },
};

const ofHalves = (halves: readonly string[], rows: string): string =>
  `select * from (${rows}) r where username in (select username from tandem.home where site in (${halves
    .map((half) => `'${half.replaceAll("'", "''")}'`)
    .join(', ')}))`;

async function connected<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** Copies the rows of these halves' users from `source` into schema `demo_witness` of `target`, at one point in time. */
export async function makeWitness(source: string, target: string, ...halves: string[]): Promise<void> {
  await connected(source, async (from) =>
    connected(target, async (to) => {
      await from.query('begin isolation level repeatable read read only');
      await to.query('drop schema if exists demo_witness cascade; create schema demo_witness');
      for (const [table, { columns, rows }] of Object.entries(tables)) {
        await to.query(`create table demo_witness.${table} as ${rows} limit 0`);
        const out = from.query(copyTo(`copy (${ofHalves(halves, rows)}) to stdout`));
        await pipeline(out, to.query(copyFrom(`copy demo_witness.${table} (${columns}) from stdin`)));
      }
      await from.query('commit');
    }),
  );
}

/** Rows of these halves' users that the witness has and the database has not, and the other way; duplicates count. */
export async function compareWitness(database: string, ...halves: string[]): Promise<number> {
  return connected(database, async (client) => {
    let mismatches = 0;
    for (const [table, { rows }] of Object.entries(tables)) {
      const live = ofHalves(halves, rows);
      const witness = `select * from demo_witness.${table}`;
      const sql = `select ((select count(*) from (${live} except all ${witness}) a) + (select count(*) from (${witness} except all ${live}) b))::int as n`;
      const { rows: found } = await client.query<{ n: number }>(sql);
      mismatches += found[0]?.n ?? 0;
    }
    return mismatches;
  });
}

/** Users of these halves whose rows differ from the witness's. */
export async function differingUsers(database: string, ...halves: string[]): Promise<Set<string>> {
  return connected(database, async (client) => {
    const names = new Set<string>();
    for (const [table, { rows }] of Object.entries(tables)) {
      const live = ofHalves(halves, rows);
      const witness = `select * from demo_witness.${table}`;
      const sql = `select username from ((${live} except all ${witness}) union all (${witness} except all ${live})) d`;
      const { rows: found } = await client.query<{ username: string }>(sql);
      for (const { username } of found) names.add(username);
    }
    return names;
  });
}
