import { setTimeout as pause } from 'node:timers/promises';
import { Client } from 'pg';
import { sql } from '../../rig/sql.ts';

const EVERY_MS = 50;
/** A database that is away is asked again. */
const ANSWER_MS = 3000;

interface Place {
  from: string;
  to: string;
}

interface Contact {
  username: string;
  jid: string;
}

/**
 * Users who go on renaming a contact of theirs while they are moved, as long as the database of the site that they leave lets
 * them; and a look, again and again, whether both sites would serve them. Each name is a number, and greater than any before.
 */
export class Writer {
  /** The last names of which the database has said that it keeps them, by user. */
  private readonly kept = new Map<string, number>();
  /** When both were seen to have the right. */
  private readonly twice: string[] = [];
  private readonly urls: Place;
  private readonly contacts: Contact[];
  /** To each database, for looking. */
  private readonly asked = new Map<string, Client>();
  private stopped = false;
  private readonly ended: Promise<void>;

  private constructor(urls: Place, contacts: Contact[]) {
    this.urls = urls;
    this.contacts = contacts;
    this.ended = this.write();
  }

  static async start(urls: Place, half: string): Promise<Writer> {
    return new Writer(urls, await sql<Contact>(urls.from, contactsOf(half)));
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await this.ended;
    for (const url of this.asked.keys()) await this.forget(url);
  }

  /** Names that the site which serves these users now does not have, though the other one had said that it keeps them. */
  async lostAt(url: string): Promise<string[]> {
    if (this.kept.size === 0) return ['nothing was written before the move'];
    const rows = await sql<Contact & { nick: string }>(url, 'select username, jid, nick from rosterusers');
    const there = new Map(rows.map(({ username, jid, nick }) => [`${username} ${jid}`, Number(nick)]));
    const lost = this.contacts.filter(({ username, jid }) => {
      const kept = this.kept.get(username);
      return kept !== undefined && !((there.get(`${username} ${jid}`) ?? 0) >= kept);
    });
    return lost.length > 0 ? [`the last word of ${lost.length} of ${this.kept.size} users is lost`] : [];
  }

  servedTwice(): string[] {
    return this.twice.map((at) => `both sites would serve them at ${at}`);
  }

  /** A right that was given away in between does not come back within a move: it stood all the time. */
  async look(): Promise<void> {
    const { from, to } = this.urls;
    for (const url of [from, to, from]) if (!(await this.served(url, this.contacts[0]?.username ?? ''))) return;
    this.twice.push(new Date().toISOString());
  }

  /** Nobody whose database does not answer. */
  private async served(url: string, username: string): Promise<boolean> {
    try {
      const client = this.asked.get(url) ?? (await connected(url));
      this.asked.set(url, client);
      const { rows } = await client.query<{ may: boolean }>('select tandem.may_serve($1) as may', [username]);
      return rows[0]?.may ?? false;
    } catch {
      await this.forget(url);
      return false;
    }
  }

  private async forget(url: string): Promise<void> {
    const client = this.asked.get(url);
    this.asked.delete(url);
    await client?.end().catch(() => undefined); // It may be dead.
  }

  private async write(): Promise<void> {
    let client: Client | null = null;
    const first = Date.now();
    for (let n = 0; !this.stopped; n += 1, await pause(EVERY_MS)) {
      const contact = this.contacts[n % this.contacts.length];
      try {
        client ??= await connected(this.urls.from);
        if (contact) await this.rename(client, contact, first + n);
      } catch {
        await client?.end().catch(() => undefined);
        client = null;
      }
      await this.look();
    }
    await client?.end();
  }

  /** Is known to be writing before it looks whether it may, as a service that lets go is still written for. */
  private async rename(client: Client, { username, jid }: Contact, name: number): Promise<void> {
    await client.query('begin');
    await client.query('select pg_current_xact_id()');
    const { rowCount } = await client.query(
      'update rosterusers set nick = $3 where username = $1 and jid = $2 and tandem.may_serve($1)',
      [username, jid, String(name)],
    );
    await client.query('commit');
    if (rowCount === 1) this.kept.set(username, name);
  }
}

/** One of each user. */
const contactsOf = (half: string): string => `
  select distinct on (username) username, jid from rosterusers join tandem.home using (username)
   where site = '${half}' order by username, jid`;

async function connected(url: string): Promise<Client> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: ANSWER_MS, query_timeout: ANSWER_MS });
  client.on('error', () => undefined); // The next contact finds it out.
  await client.connect();
  return client;
}
