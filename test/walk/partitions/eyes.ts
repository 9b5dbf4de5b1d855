import { readFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { Client } from 'pg';

const EVERY_MS = 100;
const ANSWER_MS = 2500;
/** A right that went away and came back between two looks at one site would not be seen to have gone. */
const ONE_LOOK_MS = 1000;

/** What ejabberd asks its site's database, word for word. */
interface Statements {
  /** Which site may serve which half, as the database of `site` has it. */
  rights: (site: string) => string;
  /** Whether the site's worker has said of late that it lives: what a service that starts waits for. */
  lives: string;
  /** For so long a service that runs takes its site to live. */
  aliveMs: number;
}

const SOURCE = new URL('../../../ops/reference-service/ejabberd/mod_tandem_rights.erl', import.meta.url);

async function statementsOfService(): Promise<Statements> {
  const source = await readFile(SOURCE, 'utf8');
  const defined = (name: string): number => {
    const value = new RegExp(`-define\\(${name}, (\\d+)\\)`).exec(source)?.[1];
    if (value === undefined) throw new Error(`mod_tandem_rights.erl defines no ${name}`);
    return Number(value);
  };
  /** The strings of the query that is bound to a name. */
  const texts = (name: string): string[] => {
    const query = new RegExp(`${name} = catch ejabberd_sql:sql_query\\(Host,([^;]*?)\\]\\),`).exec(source)?.[1];
    if (query === undefined) throw new Error(`mod_tandem_rights.erl asks for no ${name}`);
    return [...query.matchAll(/"([^"]*)"/g)].map(([, text = '']) => text);
  };
  const lives = texts('Lives');
  const [and = ''] = lives.splice(-1);
  return {
    rights: (site) => `${texts('Rights').join('')}'${site}'`,
    lives: `${lives.join('')}${defined('AHEAD')}${and}${defined('ALIVE')}`,
    aliveMs: defined('ALIVE') * 1000,
  };
}

/** Users who were seen to be served by both sites, and from when to when. */
export interface Twice {
  since: number;
  until: number;
  users: number;
}

/** Looks all the time who is served at either site, as a service there would see it that reads its own site's database. */
export class Eyes {
  private readonly twice: Twice[] = [];
  private readonly statements: Statements;
  private readonly urls: ReadonlyMap<string, string>;
  private readonly clients = new Map<string, Client>();
  /** When the service of a site last read that it may run, or had been running then; none of one that has just started. */
  private readonly ran = new Map<string, number>();
  private stopped = false;
  private looks = 0;
  private readonly ended: Promise<void>;

  private constructor(urls: ReadonlyMap<string, string>, statements: Statements) {
    this.urls = urls;
    this.statements = statements;
    this.ended = this.look();
  }

  static async open(urls: ReadonlyMap<string, string>): Promise<Eyes> {
    return new Eyes(urls, await statementsOfService());
  }

  /** A service that starts with its site again has forgotten that it ran. */
  restarted(site: string): void {
    this.ran.delete(site);
  }

  /** Since the last time this was asked. */
  forget(): Twice[] {
    if (this.looks === 0) throw new Error('nobody has looked');
    this.looks = 0;
    return this.twice.splice(0);
  }

  async close(): Promise<void> {
    this.stopped = true;
    await this.ended;
    for (const site of this.clients.keys()) this.drop(site);
  }

  /** Whom a site serves; nobody when its database does not answer. */
  async served(site: string): Promise<Set<string>> {
    const { statements } = this;
    try {
      const client = await this.client(site);
      const { rows } = await client.query<{ lives: boolean; names: string[] }>(
        `with rights (half, site) as (${statements.rights(site)})
         select (${statements.lives}) <> '0' as lives,
                (select coalesce(array_agg(h.username), '{}') from tandem.home h join rights r on r.half = h.site
                  where r.site = '${site}' and tandem.entitled(h.username)
                    and not exists (select from tandem.quarantine q where q.username = h.username and q.release is null)) as names`,
      );
      const [row] = rows;
      const ran = this.ran.get(site) ?? -Infinity;
      if (!row || !(row.lives || performance.now() - ran <= statements.aliveMs)) return new Set();
      this.ran.set(site, performance.now());
      return new Set(row.names);
    } catch {
      this.drop(site);
      return new Set();
    }
  }

  private async look(): Promise<void> {
    const [first = '', second = ''] = this.urls.keys();
    for (; !this.stopped; await pause(EVERY_MS)) {
      const began = performance.now();
      const before = await this.served(first);
      const other = await this.served(second);
      const after = await this.served(first);
      this.looks += 1;
      const both = [...other].filter((name) => before.has(name) && after.has(name)).length;
      if (both > 0 && performance.now() - began < ONE_LOOK_MS) this.note(both);
    }
  }

  private note(users: number): void {
    const at = Date.now();
    const last = this.twice.at(-1);
    if (last && at - last.until < 10 * EVERY_MS) Object.assign(last, { until: at, users: Math.max(last.users, users) });
    else this.twice.push({ since: at, until: at, users });
  }

  private async client(site: string): Promise<Client> {
    const known = this.clients.get(site);
    if (known) return known;
    const client = new Client({
      connectionString: this.urls.get(site),
      connectionTimeoutMillis: ANSWER_MS,
      query_timeout: ANSWER_MS,
    });
    client.on('error', () => undefined); // The next look finds it out.
    await client.connect();
    this.clients.set(site, client);
    return client;
  }

  /** Not waited for: it may be dead, or stand still. */
  private drop(site: string): void {
    const client = this.clients.get(site);
    this.clients.delete(site);
    client?.end().catch(() => undefined);
  }
}
