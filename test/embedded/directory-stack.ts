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
import { reset } from '../../ops/embedded/control.ts';
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

/** A whole stack with people, whose customer has a directory. */

export const CUSTOMER = 'contoso';
export const SITES = ['east', 'west'] as const;

export interface DirectoryStack {
  stack: Stack;
  directory: SlapdAccess;
  site: (site: Site) => OwnSite;
  client: (site: string) => Promise<Client>;
  at: <Row extends object>(site: Site, text: string) => Promise<Row[]>;
  state: (site: Site) => Promise<DirectoryState | null>;
  /** Lets the follower of a site ask now, and waits for what becomes of the answer. */
  followed: (site: Site) => Promise<Followed>;
  tandem: (...args: string[]) => Promise<Said>;
  signIn: (user: string, site: Site) => Promise<Session>;
  /** Sets or clears the attribute of users, and nothing else of them. */
  entitle: (entitled: boolean, ...users: string[]) => Promise<void>;
  close: () => Promise<void>;
}

export const atBoth = <T>(work: (site: Site) => Promise<T>): Promise<T[]> => Promise.all(SITES.map(work));

export async function openDirectoryStack(users: number): Promise<DirectoryStack> {
  const folder = await mkdtemp(join(tmpdir(), 'tandem-directory-'));
  const stack = await up({ folder, workers: true });
  const { directory } = stack;
  if (!directory) throw new Error('the stack has no directory');
  const configuration = await readConfiguration(stack.configuration);
  const own = new Map<string, OwnSite>();
  const clients = new Map<string, Client>();
  for (const name of SITES) {
    own.set(name, openSite(await settingsFor(configuration, name, { reportsFolder: folder })));
    const temporal = configuration.sites.get(name)?.temporal;
    if (temporal) clients.set(name, await connectClient(temporal));
  }
  const client = (name: string): Promise<Client> => {
    const found = clients.get(name);
    return found ? Promise.resolve(found) : Promise.reject(new Error(`no client of ${name}`));
  };
  const site = (name: Site): OwnSite => {
    const found = own.get(name);
    if (!found) throw new Error(`no site ${name}`);
    return found;
  };
  await populate(stack, { seed: 'directory', users }, client);
  const sessions: Session[] = [];
  return {
    stack,
    directory,
    site,
    client,
    at: <Row extends object>(name: Site, text: string) => sql<Row>(stack.sites[name]?.databaseUrl ?? '', text),
    state: (name) => directoryState(site(name).database(CUSTOMER), CUSTOMER),
    followed: async (name) => followNow(await client(name), name, CUSTOMER),
    tandem: (...args) => typed(folder, args, { TANDEM_CONFIG: stack.configuration }),
    async signIn(user, name) {
      const session = await Session.open({
        at: stack.sites[name]?.clients ?? '',
        domain: `${CUSTOMER}.example`,
        user,
        password: await peoplePassword(folder),
        authority: join(folder, 'tls', 'ca.pem'),
      });
      sessions.push(session);
      return session;
    },
    entitle: (entitled, ...names) => entitle(directory, entitled, names),
    async close() {
      for (const session of sessions) session.leave();
      await Promise.all([...own.values()].map((one) => one.close()));
      await Promise.all([...clients.values()].map((one) => one.connection.close()));
      await reset(folder);
    },
  };
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
