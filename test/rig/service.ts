import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inject } from 'vitest';
import type { ManagementAccess } from '../../activities/settings.ts';
import { prepareTables } from '../../ops/embedded/people/people.ts';
import { SERVICE_ROLE } from '../../ops/embedded/postgres.ts';
import { lives, stopProcess, type ProcessRecord } from '../../ops/embedded/processes.ts';
import { databaseUrl } from '../../ops/embedded/secrets.ts';
import { grantTables } from '../../ops/embedded/service.ts';
import { certificateFor, openAuthority, type Authority } from '../../ops/reference-service/authority.ts';
import { nodeOf } from '../../ops/reference-service/ejabberd/configuration.ts';
import type { BoughtServices } from '../../ops/reference-service/ejabberd/services.ts';
import { findEjabberd, type Ejabberd } from '../../ops/reference-service/ejabberd/installed.ts';
import { makeServiceTables, startEjabberd } from '../../ops/reference-service/ejabberd/site.ts';
import { admitToManagement } from '../../ops/reference-service/ejabberd/tokens.ts';
import { scratchDatabase, type ScratchDatabase, type Site } from './databases.ts';
import { Asker } from './erlang.ts';
import { freePort } from './ports.ts';
import { sql } from './sql.ts';
import { scramRow, Session } from './xmpp.ts';

/** Two real ejabberd upon scratch databases, with a few users; no worker, no Temporal. */

export const DOMAIN = 'acme.example';
export const address = { east: '127.0.0.2', west: '127.0.0.3' };
export const PASSWORD = 'a password of the tests';

/** Why a test may be skipped: a real ejabberd is not on every machine; root on Debian gets it by `npm test` itself, and CI is that. */
export const ejabberd = findEjabberd();

/** With whom they federate. */
export interface Federation {
  bought: Pick<BoughtServices, 'partners' | 'thirdParties' | 'publicIm'>;
  /** PEM: authorities that are believed beside their own. */
  strangers: readonly string[];
  /** A DNS on loopback. */
  dns: number;
  /** The port at which other servers come, the same at both. */
  servers: number;
}

export interface ServiceSites {
  folder: string;
  processes: Record<Site, ProcessRecord>;
  clients: number;
  /** Whose certificates both have. */
  authority: Authority;
  /** Where a site's ejabberd keeps its configuration and its log. */
  home: (site: Site) => string;
  /** A statement in a site's database, as its owner. */
  at: (site: Site, text: string) => Promise<unknown>;
  /** A site's database, as its owner. */
  url: (site: Site) => string;
  /** The database as ejabberd reaches it: with the rights of its role, and no others. */
  asService: (site: Site) => Promise<string>;
  /** At the site itself, or at the address that is before it. */
  signIn: (user: string, site: Site, front?: string) => Promise<Session>;
  /** The newest one first. */
  sessions: () => Session[];
  leaveAll: () => void;
  /** Its API, with a token such as `own-east` or `peer-east`. */
  api: (site: Site, token?: string) => ManagementAccess;
  /** Ends its process without a word, does `meanwhile`, and starts it again. */
  restart: (site: Site, meanwhile?: () => Promise<unknown>) => Promise<void>;
  /** A function of its Erlang, with texts, quoted atoms and terms as arguments; what Erlang prints of the result. */
  inErlang: (site: Site, module: string, name: string, ...args: (string | { term: string })[]) => Promise<string>;
  close: () => Promise<void>;
}

/** Starts them; `homes`: the site of each user, or null for one who has none. */
export async function startServiceSites(
  installed: Ejabberd,
  homes: Record<string, Site | null>,
  federation: Federation | null = null,
  /** Where a site's ejabberd finds its database; by default where it is. */
  way = (_site: Site, url: string): Promise<string> => Promise.resolve(url),
): Promise<ServiceSites> {
  const folder = await mkdtemp(join(tmpdir(), 'tandem-service-'));
  await chmod(folder, 0o755); // Mnesia wants to be let in.
  const [east, west] = await Promise.all([scratchDatabase('east'), scratchDatabase('west')]);
  const databases: Record<Site, ScratchDatabase> = { east, west };
  const ports = { clients: await freePort(), distribution: await freePort(), management: await freePort() };
  const authority = await openAuthority(join(folder, 'tls'));
  const ca = await readFile(authority.certificate, 'utf8');
  const trusted = join(folder, 'tls', 'trusted.pem');
  await writeFile(trusted, [ca, ...(federation?.strangers ?? [])].join(''));
  const at = (site: Site, text: string): Promise<unknown> => sql(databases[site].url, text);
  const asService = async (site: Site): Promise<string> => {
    const { folder: stack, sites: all } = inject('stack');
    const name = new URL(databases[site].url).pathname.slice(1);
    return databaseUrl(stack, site, SERVICE_ROLE, all[site]?.ports.postgres ?? 0, name);
  };
  const prepare = async (site: Site): Promise<void> => {
    const { url } = databases[site];
    await prepareTables(url, 'acme', site, ['east', 'west']);
    await makeServiceTables(installed, url);
    await grantTables(url);
    await admitToManagement(url, DOMAIN, { own: `own-${site}`, peer: `peer-${site}` });
    await addUsers(url, homes);
  };
  const start = async (site: Site): Promise<ProcessRecord> => {
    const peer = site === 'east' ? 'west' : 'east';
    return startEjabberd(folder, installed, {
      site,
      domain: DOMAIN,
      address: address[site],
      ports: { ...ports, ...(federation && { servers: federation.servers }) },
      databaseUrl: await way(site, await asService(site)),
      certificate: await certificateFor(authority, join(folder, 'tls', `${site}.pem`), [DOMAIN, address[site]]),
      authority: trusted,
      peer: { site: peer, address: address[peer] },
      ...(federation && {
        bought: { archiving: false, externalAv: false, ...federation.bought },
        resolver: { address: '127.0.0.1', port: federation.dns },
      }),
    });
  };
  for (const site of ['east', 'west'] as const) await prepare(site);
  const processes = { east: await start('east'), west: await start('west') };
  const home = (site: Site): string => join(folder, 'data', site, 'ejabberd');
  const sessions: Session[] = [];
  const asker = (site: Site): Asker =>
    new Asker({ node: nodeOf(site, address[site]), port: ports.distribution, home: home(site) });
  const askers = { east: asker('east'), west: asker('west') };
  return {
    folder,
    authority,
    processes,
    clients: ports.clients,
    home,
    at,
    url: (site) => databases[site].url,
    asService,
    async signIn(user, site, front) {
      const from = { at: front ?? `${address[site]}:${ports.clients}`, domain: DOMAIN, user, password: PASSWORD };
      const session = await Session.open({ ...from, authority: authority.certificate });
      sessions.unshift(session);
      return session;
    },
    sessions: () => sessions,
    leaveAll() {
      for (const session of sessions.splice(0)) session.leave();
    },
    api: (site, token = `own-${site}`) => ({ url: `https://${address[site]}:${ports.management}/api`, token, ca }),
    async restart(site, meanwhile = () => Promise.resolve()) {
      await stopProcess(folder, processes[site], 'SIGKILL', 5000);
      await meanwhile();
      processes[site] = await start(site);
    },
    inErlang: (site, module, name, ...args) => askers[site].call({ module, name, args }),
    async close() {
      for (const one of Object.values(askers)) one.close();
      for (const record of Object.values(processes)) {
        if (await lives(record)) process.kill(record.pid, 'SIGCONT');
        await stopProcess(folder, record, 'SIGTERM', 5000);
      }
      await Promise.all(Object.values(databases).map((database) => database.drop()));
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function addUsers(url: string, homes: Record<string, Site | null>): Promise<void> {
  for (const [user, home] of Object.entries(homes)) {
    const row = scramRow(user, PASSWORD).map((cell) => (typeof cell === 'number' ? cell : `'${cell}'`));
    await sql(url, `insert into users (username, password, serverkey, salt, iterationcount) values (${row.join()})`);
    if (home) await sql(url, `insert into tandem.home values ('${user}', '${home}')`);
  }
}
