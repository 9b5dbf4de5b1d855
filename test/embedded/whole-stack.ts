import { mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import { Client as Ldap, type Entry } from 'ldapts';
import { directoryState, type DirectoryState } from '../../activities/directory/answer.ts';
import { openSite, type OwnSite } from '../../activities/services/site.ts';
import type { Followed } from '../../activities/types.ts';
import { readConfiguration } from '../../ops/config/configuration.ts';
import { settingsFor } from '../../ops/config/settings.ts';
import { killProcess, reset } from '../../ops/embedded/control.ts';
import { populate } from '../../ops/embedded/people/populate.ts';
import { peoplePassword } from '../../ops/embedded/service.ts';
import { up, type Stack } from '../../ops/embedded/stack.ts';
import type { SlapdAccess } from '../../ops/reference-service/slapd-configuration.ts';
import { loadPeople, type Person } from '../../ops/reference-service/slapd.ts';
import { followNow } from '../../ops/snapshots.ts';
import { connectClient } from '../../ops/temporal.ts';
import { typed, type Said } from '../rig/cli.ts';
import type { Site } from '../rig/databases.ts';
import { sql } from '../rig/sql.ts';
import { Session } from '../rig/xmpp.ts';

/** A whole stack, first without workers, then with them and with people. */

export const CUSTOMER = 'contoso';
export const DOMAIN = `${CUSTOMER}.example`;
export const SITES = ['east', 'west'] as const;
/** At home at east: u000000, u000002 …; at west the others; the last twelve are those by which probes look. */
export const USERS = 60;
/** At home at east, and cleared in the directory by the last answer that it gives. */
export const DISABLED = 'u000004';

export const atBoth = <T>(work: (site: Site) => Promise<T>): Promise<T[]> => Promise.all(SITES.map(work));

export const openWholeStack = async (): Promise<WholeStack> => {
  const folder = await mkdtemp(join(tmpdir(), 'tandem-whole-'));
  return new WholeStack(await up({ folder, workers: false }));
};

export class WholeStack {
  readonly stack: Stack;
  private readonly own = new Map<Site, OwnSite>();
  private readonly clients = new Map<string, Client>();
  private readonly sessions: Session[] = [];
  private coming: Promise<void> | null = null;
  private losing: Promise<void> | null = null;

  constructor(stack: Stack) {
    this.stack = stack;
  }

  get folder(): string {
    return this.stack.folder;
  }

  /** Starts what does not run, workers too. */
  async start(): Promise<void> {
    await up({ folder: this.folder, workers: true });
  }

  /** Whichever part asks first starts the workers, and brings the people. */
  peopled(): Promise<void> {
    return (this.coming ??= this.bringPeople());
  }

  private async bringPeople(): Promise<void> {
    await this.start();
    const configuration = await readConfiguration(this.stack.configuration);
    for (const name of SITES) {
      this.own.set(name, openSite(await settingsFor(configuration, name, { reportsFolder: this.folder })));
      const temporal = configuration.sites.get(name)?.temporal;
      if (temporal) this.clients.set(name, await connectClient(temporal));
    }
    await populate(this.stack, { seed: 'whole', users: USERS }, (name) => Promise.resolve(this.client(name)));
  }

  /** Whichever part asks first has a user disabled and ends the directory, where there is one. */
  withoutDirectory(): Promise<void> {
    return (this.losing ??= this.peopled().then(() => this.loseDirectory()));
  }

  private async loseDirectory(): Promise<void> {
    if (!this.stack.directory) return;
    await this.entitle(false, DISABLED);
    await atBoth(this.followed);
    await killProcess(this.folder, 'customer', 'slapd', 'SIGTERM');
  }

  site(name: Site): OwnSite {
    const found = this.own.get(name);
    if (!found) throw new Error(`no site ${name}`);
    return found;
  }

  client(name: string): Client {
    const found = this.clients.get(name);
    if (!found) throw new Error(`no client of ${name}`);
    return found;
  }

  get directory(): SlapdAccess {
    if (!this.stack.directory) throw new Error('the stack has no directory');
    return this.stack.directory;
  }

  at<Row extends object>(name: Site, text: string): Promise<Row[]> {
    return sql<Row>(this.stack.sites[name]?.databaseUrl ?? '', text);
  }

  readonly state = (name: Site): Promise<DirectoryState | null> =>
    directoryState(this.site(name).database(CUSTOMER), CUSTOMER);

  /** Lets the follower of a site ask now, and waits for what becomes of the answer. */
  readonly followed = (name: Site): Promise<Followed> => followNow(this.client(name), name, CUSTOMER);

  tandem(...args: string[]): Promise<Said> {
    return typed(this.folder, args, { TANDEM_CONFIG: this.stack.configuration });
  }

  async signIn(user: string, name: Site, resource = 'desk'): Promise<Session> {
    const session = await Session.open({
      at: this.stack.sites[name]?.clients ?? '',
      domain: DOMAIN,
      user,
      resource,
      password: await peoplePassword(this.folder),
      authority: join(this.folder, 'tls', 'ca.pem'),
    });
    this.sessions.push(session);
    return session;
  }

  /** Sets or clears the attribute of users, and nothing else of them. */
  entitle(entitled: boolean, ...names: string[]): Promise<void> {
    return entitle(this.directory, entitled, names);
  }

  async close(): Promise<void> {
    for (const session of this.sessions) session.leave();
    await Promise.all([...this.own.values()].map((one) => one.close()));
    await Promise.all([...this.clients.values()].map((one) => one.connection.close()));
    await reset(this.folder);
  }
}

async function entitle(directory: SlapdAccess, entitled: boolean, users: string[]): Promise<void> {
  const { authority, url, administrator, base } = directory;
  const ldap = new Ldap({ url, tlsOptions: { ca: await readFile(authority, 'utf8'), host: '127.0.0.1' } });
  await ldap.bind(administrator.dn, administrator.password);
  const text = (entry: Entry | undefined, name: string): string => String(entry?.[name]);
  const of = async (username: string): Promise<Person> => {
    const [entry] = (await ldap.search(base, { filter: `(uid=${username})` })).searchEntries;
    return { username, entitled, credentials: text(entry, 'authPassword'), home: text(entry, 'tandemHome') };
  };
  const people = await Promise.all(users.map(of));
  await ldap.unbind();
  await loadPeople(directory, people);
}
