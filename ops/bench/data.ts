import { Client } from 'pg';
import { prepareTables } from '../embedded/people/people.ts';
import { SITE, type Ground } from './cluster.ts';

export const CUSTOMER = 'acme';
const SITES = ['east', 'west'] as const;

export const TABLES = ['rosterusers', 'rostergroups', 'privacy_list', 'privacy_list_data', 'privacy_default_list'];

export interface Size {
  users: number;
  /** Contacts of each user. A tenth as many ACL items in one list, and three tenths of the contacts in a group. */
  contacts: number;
}

/** A contact database with everybody at home at one site, as both sides of a comparison read it. */
export interface People extends Size {
  database: string;
  url: string;
  /** In the tables that a snapshot covers, when they were made. */
  rows: number;
  /** How often `changeOnePercent` has been here: no two changes are alike. */
  changes: number;
}

/** Makes databases when they are first asked for: each size once a run. Not to be asked for two at a time. */
export class Populations {
  private readonly ground: Ground;
  private readonly say: (line: string) => void;
  private readonly made = new Map<string, People>();

  constructor(ground: Ground, say: (line: string) => void) {
    this.ground = ground;
    this.say = say;
  }

  async of(size: Size): Promise<People> {
    const database = `people_${size.users}_${size.contacts}`;
    const known = this.made.get(database);
    if (known) return known;
    this.say(`making ${size.users} users with ${size.contacts} contacts each`);
    await this.empty(database);
    const url = this.ground.url(database);
    await prepareTables(url, CUSTOMER, SITE, SITES);
    const people = { ...size, database, url, rows: await fill(url, size), changes: 0 };
    this.made.set(database, people);
    return people;
  }

  /** The disk may not hold all sizes at once. */
  async drop({ database }: People): Promise<void> {
    this.made.delete(database);
    await this.command(`drop database if exists ${database} with (force)`);
  }

  /** A database without any table, made anew. Answers its URL. */
  async empty(database: string): Promise<string> {
    await this.command(`drop database if exists ${database} with (force)`);
    await this.command(`create database ${database} template template0`);
    return this.ground.url(database);
  }

  /** The tables of a serving site with their indexes and everybody's home, but no rows of theirs. */
  async live(database: string, people: People): Promise<string> {
    const url = await this.empty(database);
    await prepareTables(url, CUSTOMER, SITE, SITES);
    await withClient(url, async (client) => {
      await client.query(persons(people.users));
      await client.query('insert into tandem.home select username, $1 from bench.person', [SITE]);
      await client.query('vacuum analyze tandem.home');
    });
    return url;
  }

  private async command(sql: string): Promise<void> {
    await withClient(this.ground.url('postgres'), (client) => client.query(sql));
  }
}

export async function withClient<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url });
  client.on('error', () => undefined); // The statement that runs fails, and says why.
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** Who is who, by number: lets a later statement speak of "every hundredth user". Not among the tables measured. */
const persons = (users: number): string => `
  create schema bench;
  create table bench.person as
    select i, f.name || '.' || l.name || i as username, initcap(f.name) || ' ' || initcap(l.name) as nick
      from generate_series(0, ${users - 1}) i
      join unnest('{anna,bela,chloé,dmitri,eva,fatima,goran,hana,ines,jonas,katya,луис,mira,nils,olga,pavel}'::text[])
           with ordinality f (name, n) on f.n = 1 + abs(hashint4extended(i, 1) % 16)
      join unnest('{almeida,berg,costa,dimitrov,eriksen,fischer,garcía,horvat,ivanova,jansen,kowalski,lindqvist}'::text[])
           with ordinality l (name, n) on l.n = 1 + abs(hashint4extended(i, 2) % 12);
  create unique index on bench.person (i);
  create unique index on bench.person (username);
  analyze bench.person;`;

/** Primes above any number of users. */
const STEPS = [10000019, 10000079, 10000103, 10000121, 10000139, 10000141, 10000169, 10000189];

/**
 * Contacts are spread over everybody by steps that have no factor in common with any size, so that no user has one twice;
 * one in fourteen is elsewhere, and one in four has a name that his user gave him.
 */
const contacts = (size: Size): string => `
  create view bench.contact as
    select p.i, k, p.username,
           case when hashint8extended(p.i::bigint * 1000 + k, 10) % 4 = 0
                then q.nick || ' ' || substr(md5(p.i || '/' || k), 1, 7) else q.nick end as nick,
           case when k % 14 = 0 then q.username || '@partner.example' else q.username || '@acme.example' end as jid
      from bench.person p
     cross join generate_series(1, ${Math.min(size.contacts, size.users - 1)}) k
      join bench.person q on q.i = (abs(hashint4extended(p.i, 3) % ${size.users})
               + k::bigint * ('{${STEPS.join(',')}}'::bigint[])[1 + abs(hashint4extended(p.i, 11) % ${STEPS.length})]) % ${size.users}`;

/** Rows of one user lie apart, as they do after years of use: each table is written in the order of a hash. */
const fills = ({ contacts: each }: Size): string[] => [
  `insert into users (username, password) select username, '' from bench.person`,
  `insert into tandem.home select username, '${SITE}' from bench.person`,
  `insert into rosterusers (username, jid, nick, subscription, ask, askmessage, server, subscribe, type)
     select username, jid, nick, case when k % 20 = 3 then 'T' when k % 20 = 9 then 'F' else 'B' end,
            'N', '', 'N', '', case when k % 25 = 7 then null else 'item' end
       from bench.contact order by hashint8extended(i::bigint * 1000 + k, 4)`,
  `insert into rostergroups
     select username, jid, ('{Friends,Work,Family,Команда,Bowling club,営業部}'::text[])[1 + (i + k) % 6]
       from bench.contact where k % 10 in (1, 4, 7) order by hashint8extended(i::bigint * 1000 + k, 5)`,
  `insert into privacy_list (username, name)
     select username, 'Blocked contacts' from bench.person order by hashint4extended(i, 6)`,
  `insert into privacy_list_data (id, t, value, action, ord, match_all, match_iq, match_message, match_presence_in, match_presence_out)
     select id, 'j', 'spam' || abs(hashint8extended(id * 1000 + k, 7) % 50000) || '@evil.example', 'd', k,
            true, false, false, false, false
       from privacy_list cross join generate_series(1, ${Math.max(1, Math.floor(each / 10))}) k
      order by hashint8extended(id * 1000 + k, 8)`,
  `insert into privacy_default_list
     select username, 'Blocked contacts' from bench.person where i % 4 = 0 order by hashint4extended(i, 9)`,
];

/** Fills the tables; answers how many rows a snapshot of them covers. */
async function fill(url: string, size: Size): Promise<number> {
  return withClient(url, async (client) => {
    // Indexes that no constraint needs are made afterwards: the same tables in a third of the time.
    const { rows: indexes } = await client.query<{ name: string; definition: string }>(
      `select i.indexrelid::regclass::text as name, pg_get_indexdef(i.indexrelid) as definition
         from pg_index i left join pg_constraint c on c.conindid = i.indexrelid
        where i.indrelid = any($1::regclass[]) and c.oid is null`,
      [TABLES],
    );
    for (const { name } of indexes) await client.query(`drop index ${name}`);
    await client.query(persons(size.users));
    await client.query(contacts(size));
    await client.query("set work_mem = '256MB'");
    for (const sql of fills(size)) await client.query(sql);
    for (const { definition } of indexes) await client.query(definition);
    await client.query('vacuum analyze');
    return countRows(client);
  });
}

/** What both sides of a restore must arrive at: as many rows, and an index wherever the service has one. */
export async function extentOf(url: string): Promise<{ rows: number; indexes: number }> {
  return withClient(url, async (client) => {
    const { rows } = await client.query<{ indexes: number }>(
      'select count(*)::int as indexes from pg_index where indrelid = any($1::regclass[])',
      [TABLES],
    );
    return { rows: await countRows(client), indexes: rows[0]?.indexes ?? 0 };
  });
}

async function countRows(client: Client): Promise<number> {
  const sums = TABLES.map((table) => `(select count(*) from ${table})`).join(' + ');
  const { rows } = await client.query<{ rows: string }>(`select (${sums})::text as rows`);
  return Number(rows[0]?.rows ?? 0);
}

/**
 * One user in a hundred edits his contacts, others each time: one is renamed, one is added. Afterwards every table is
 * read once, so that whoever reads next finds its pages as warm, and its rows' commit bits as set, as anybody after him.
 * Answers how many users were changed.
 */
export async function changeOnePercent(people: People): Promise<number> {
  people.changes += 1;
  const number = people.changes;
  return withClient(people.url, async (client) => {
    const chosen = `bench.person p where p.i % 100 = ${(number * 37) % 100}`;
    const { rowCount } = await client.query(
      `update rosterusers r set nick = 'renamed by change ${number}'
         from (select p.username, (select min(jid) from rosterusers where username = p.username) as jid from ${chosen}) f
        where (r.username, r.jid) = (f.username, f.jid)`,
    );
    await client.query(
      `insert into rosterusers (username, jid, nick, subscription, ask, askmessage, server, subscribe, type)
         select p.username, 'new-${number}@partner.example', 'new by change ${number}', 'B', 'N', '', 'N', '', 'item'
           from ${chosen} on conflict do nothing`,
    );
    await countRows(client);
    return rowCount ?? 0;
  });
}
