import { setTimeout as pause } from 'node:timers/promises';
import { Client } from 'pg';
import { sql } from '../../rig/sql.ts';

const EVERY_MS = 100;
/** A database that is away is asked again. */
const ANSWER_MS = 3000;

interface Contact {
  username: string;
  jid: string;
}

/** Of each user the contact that he renames where this site serves him. No two sites write the same. */
const contactsOf = (nth: number): string => `
  select username, jid from (
    select username, jid, row_number() over (partition by username order by jid) as nth from rosterusers) r
    join tandem.home using (username)
   where nth = ${nth} and username in (select username from rosterusers group by 1 having count(*) > 1)
   order by md5(username)`;

/**
 * Users who go on renaming a contact at whichever site serves them, at both when both do. Each name is a number, and greater than any
 * before: what was said to be kept can be told from what is there.
 */
export class Users {
  private readonly sites: { url: string; contacts: Contact[]; kept: Map<string, number> }[];
  private stopped = false;
  private readonly ended: Promise<unknown>;

  private constructor(sites: Users['sites']) {
    this.sites = sites;
    this.ended = Promise.all(sites.map((site) => this.write(site)));
  }

  static async start(urls: ReadonlyMap<string, string>): Promise<Users> {
    const sites = [...urls.values()].map(async (url, i) => ({
      url,
      contacts: await sql<Contact>(url, contactsOf(i + 1)),
      kept: new Map<string, number>(),
    }));
    return new Users(await Promise.all(sites));
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await this.ended;
  }

  /** What was said to be kept, and is not where its user is served now. */
  async lost(servedAt: (user: string) => string | undefined): Promise<string[]> {
    // Before it is looked what is there: they go on.
    const sites = this.sites.map((site) => ({ ...site, kept: new Map(site.kept) }));
    const names = await Promise.all(
      this.sites.map(async ({ url }) => {
        const rows = await sql<Contact & { nick: string }>(url, 'select username, jid, nick from rosterusers');
        return [url, new Map(rows.map(({ username, jid, nick }) => [`${username} ${jid}`, Number(nick)]))] as const;
      }),
    );
    const there = new Map(names);
    return sites.flatMap(({ url, contacts, kept }, i) => {
      if (kept.size === 0) return [`nothing was written at site ${i + 1}`];
      const gone = contacts.filter(({ username, jid }) => {
        const name = kept.get(username);
        const now = there.get(servedAt(username) ?? url)?.get(`${username} ${jid}`);
        return name !== undefined && !((now ?? 0) >= name);
      });
      return gone.length > 0 ? [`the last word of ${gone.length} of ${kept.size} users at site ${i + 1} is lost`] : [];
    });
  }

  /** From now on only what is written from now on is asked for. */
  forget(): void {
    for (const { kept } of this.sites) kept.clear();
  }

  private async write({ url, contacts, kept }: Users['sites'][number]): Promise<void> {
    let client: Client | null = null;
    const first = Date.now();
    for (let n = 0; !this.stopped; n += 1, await pause(EVERY_MS)) {
      const contact = contacts[n % contacts.length];
      try {
        client ??= await connected(url);
        if (contact && (await rename(client, contact, first + n))) kept.set(contact.username, first + n);
      } catch {
        client?.end().catch(() => undefined); // Not waited for: it may be dead, or stand still.
        client = null;
      }
    }
    await client?.end();
  }
}

/** Is known to be writing before it looks whether it may, as a service that lets go is still written for. */
async function rename(client: Client, { username, jid }: Contact, name: number): Promise<boolean> {
  await client.query('begin');
  await client.query('select pg_current_xact_id()');
  const { rowCount } = await client.query(
    'update rosterusers set nick = $3 where username = $1 and jid = $2 and tandem.may_serve($1)',
    [username, jid, String(name)],
  );
  await client.query('commit');
  return rowCount === 1;
}

async function connected(url: string): Promise<Client> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: ANSWER_MS, query_timeout: ANSWER_MS });
  client.on('error', () => undefined); // The next contact finds it out.
  await client.connect();
  return client;
}
