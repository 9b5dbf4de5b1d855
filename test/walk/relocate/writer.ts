import { setTimeout as pause } from 'node:timers/promises';
import { Client } from 'pg';
import { sql } from '../../rig/sql.ts';

const EVERY_MS = 50;
/** A database that is away is asked again. */
const ANSWER_MS = 3000;
const MARK = 'walk-';

interface Place {
  from: string;
  to: string;
}

/**
 * Users who go on adding contacts while they are moved, as long as the database of the site that they leave lets them; and
 * a look, again and again, whether both sites would serve them.
 */
export class Writer {
  /** Contacts of which the database has said that it keeps them. */
  private readonly kept: { username: string; jid: string }[] = [];
  /** When both were seen to have the right. */
  private readonly twice: string[] = [];
  private readonly urls: Place;
  private readonly users: string[];
  private stopped = false;
  private readonly ended: Promise<void>;

  private constructor(urls: Place, users: string[]) {
    this.urls = urls;
    this.users = users;
    this.ended = this.write();
  }

  /** What an earlier one had written is deleted, by its users. */
  static async start(urls: Place, half: string): Promise<Writer> {
    await sql(urls.from, `delete from rosterusers where jid like '${MARK}%'`);
    const users = await sql<{ username: string }>(
      urls.from,
      `select username from tandem.home where site = '${half}' order by 1`,
    );
    return new Writer(
      urls,
      users.map(({ username }) => username),
    );
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await this.ended;
  }

  /** Contacts that the site which serves them now does not have, by what it was told to keep. */
  async lostAt(url: string): Promise<string[]> {
    const rows = await sql<{ who: string }>(url, `select username || ' ' || jid as who from rosterusers`);
    const there = new Set(rows.map(({ who }) => who));
    const lost = this.kept.filter(({ username, jid }) => !there.has(`${username} ${jid}`));
    const none = this.kept.length === 0 ? ['nothing was written before the move'] : [];
    return lost.length > 0 ? [`${lost.length} of ${this.kept.length} contacts are lost`] : none;
  }

  servedTwice(): string[] {
    return this.twice.map((at) => `both sites would serve them at ${at}`);
  }

  /** A right that was given away in between does not come back within a move: it stood all the time. */
  async look(): Promise<void> {
    const { from, to } = this.urls;
    for (const url of [from, to, from]) if (!(await served(url, this.users[0] ?? ''))) return;
    this.twice.push(new Date().toISOString());
  }

  private async write(): Promise<void> {
    let client: Client | null = null;
    for (let n = 0; !this.stopped; n += 1, await pause(EVERY_MS)) {
      try {
        client ??= await connected(this.urls.from);
        await this.add(client, this.users[n % this.users.length] ?? '', `${MARK}${n}@elsewhere.example`);
      } catch {
        await client?.end().catch(() => undefined);
        client = null;
      }
      await this.look();
    }
    await client?.end();
  }

  /** Is known to be writing before it looks whether it may, as a service that lets go is still written for. */
  private async add(client: Client, username: string, jid: string): Promise<void> {
    await client.query('begin');
    await client.query('select pg_current_xact_id()');
    const { rowCount } = await client.query(
      `insert into rosterusers (username, jid, nick, subscription, ask, askmessage, server, subscribe, type)
       select $1, $2, '', 'B', 'N', '', 'N', '', 'item' where tandem.may_serve($1)`,
      [username, jid],
    );
    await client.query('commit');
    if (rowCount === 1) this.kept.push({ username, jid });
  }
}

async function served(url: string, username: string): Promise<boolean> {
  const may = await sql<{ may: boolean }>(url, `select tandem.may_serve('${username}') as may`).catch(() => []);
  return may[0]?.may ?? false;
}

async function connected(url: string): Promise<Client> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: ANSWER_MS, query_timeout: ANSWER_MS });
  client.on('error', () => undefined); // The next contact finds it out.
  await client.connect();
  return client;
}
