import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, inject } from 'vitest';
import { Database } from '../../activities/contacts/database.ts';
import { defaultFilter, filterDigest, type FilterPolicy } from '../../activities/filter/policy.ts';
import { writeFilter } from '../../activities/filter/stored.ts';
import { prepareTables } from '../../ops/embedded/people/people.ts';
import { stopProcess, type ProcessRecord } from '../../ops/embedded/processes.ts';
import { certificateFor, openAuthority } from '../../ops/reference-service/authority.ts';
import { nodeOf } from '../../ops/reference-service/ejabberd/configuration.ts';
import type { Ejabberd } from '../../ops/reference-service/ejabberd/installed.ts';
import { makeServiceTables, startEjabberd } from '../../ops/reference-service/ejabberd/site.ts';
import { admitToManagement } from '../../ops/reference-service/ejabberd/tokens.ts';
import { grantTables } from '../../ops/embedded/service.ts';
import { SERVICE_ROLE } from '../../ops/embedded/postgres.ts';
import { databaseUrl } from '../../ops/embedded/secrets.ts';
import { scratchDatabase } from '../rig/databases.ts';
import { Asker } from '../rig/erlang.ts';
import { freePort } from '../rig/ports.ts';
import { sql } from '../rig/sql.ts';
import { scramRow, Session } from '../rig/xmpp.ts';

/** One site with a real ejabberd, an archive and a service for files, and three users at home there. */

export const DOMAIN = 'acme.example';
const PASSWORD = 'a password of the tests';
const ADDRESS = '127.0.0.2';
const users = ['anna', 'aron', 'otto'] as const;

export type FilteredSite = Awaited<ReturnType<typeof openFilteredSite>>;

export async function openFilteredSite(ejabberd: Ejabberd) {
  const folder = await mkdtemp(join(tmpdir(), 'tandem-filter-'));
  await chmod(folder, 0o755); // Mnesia wants to be let in.
  const scratch = await scratchDatabase('east');
  const database = new Database('east', scratch.url, { connections: 2, connectMs: 5000, statementMs: 20_000 });
  const ports = {
    clients: await freePort(),
    distribution: await freePort(),
    management: await freePort(),
    web: await freePort(),
  };
  const authority = await openAuthority(join(folder, 'tls'));
  const home = join(folder, 'data', 'east', 'ejabberd');
  const certificate = await certificateFor(authority, join(folder, 'tls', 'east.pem'), [DOMAIN, ADDRESS]);
  const api = {
    url: `https://${ADDRESS}:${ports.management}/api`,
    token: 'own-east',
    ca: await readFile(authority.certificate, 'utf8'),
  };
  const sessions: Session[] = [];
  const asker = new Asker({ node: nodeOf('east', ADDRESS), port: ports.distribution, home });
  let site: ProcessRecord | null = null;

  const at = <Row extends object>(text: string): Promise<Row[]> => sql<Row>(scratch.url, text);
  await prepareTables(scratch.url, 'acme', 'east', ['east', 'west']);
  await makeServiceTables(ejabberd, scratch.url);
  await grantTables(scratch.url);
  await admitToManagement(scratch.url, DOMAIN, { own: 'own-east', peer: 'peer-east' });
  for (const user of users) {
    const row = scramRow(user, PASSWORD).map((cell) => (typeof cell === 'number' ? cell : `'${cell}'`));
    await at(`insert into users (username, password, serverkey, salt, iterationcount) values (${row.join()})`);
    await at(`insert into tandem.home values ('${user}', 'east')`);
  }
  const { folder: stack, sites } = inject('stack');
  const named = new URL(scratch.url).pathname.slice(1);
  const asService = await databaseUrl(stack, 'east', SERVICE_ROLE, sites['east']?.ports.postgres ?? 0, named);
  const opened = {
    at,
    /** The database as the other site reaches it. */
    peerUrl: scratch.peerUrl,
    url: scratch.url,
    uploads: `https://${DOMAIN}:${ports.web}/upload`,
    api,
    database,
    home,
    sessions,
    async start(): Promise<void> {
      site = await startEjabberd(folder, ejabberd, {
        site: 'east',
        domain: DOMAIN,
        address: ADDRESS,
        ports,
        databaseUrl: asService,
        certificate,
        authority: authority.certificate,
        peer: { site: 'west', address: '127.0.0.3' },
        bought: { archiving: true, externalAv: false, partners: [] },
      });
    },
    async kill(): Promise<void> {
      if (site) await stopProcess(folder, site, 'SIGKILL', 5000);
    },
    erl: (module: string, name: string, ...args: string[]): Promise<string> => asker.call({ module, name, args }),
    /** The digest of what its ejabberd has in force. */
    loaded: async (): Promise<string> =>
      (await opened.erl('mod_tandem_filter', 'digest', DOMAIN)).replaceAll(/[<>"]/g, ''),
    write: (change: Partial<FilterPolicy>): Promise<boolean> =>
      database.transaction((client) => writeFilter(client, 'acme', { ...defaultFilter, ...change })),
    /** Writes a policy and waits until it is in force. */
    async filterBy(change: Partial<FilterPolicy>): Promise<void> {
      await opened.write(change);
      await expect.poll(opened.loaded).toBe(filterDigest({ ...defaultFilter, ...change }));
    },
    async signIn(user: (typeof users)[number], resource?: string): Promise<Session> {
      const place = { at: `${ADDRESS}:${ports.clients}`, domain: DOMAIN, authority: authority.certificate };
      const as = { user, password: PASSWORD, ...(resource !== undefined && { resource }) };
      const session = await Session.open({ ...place, ...as });
      sessions.push(session);
      return session;
    },
    /** All that its archive and its store of messages for later hold. */
    async kept(): Promise<string> {
      const [row] = await at<{ kept: string }>(
        `select coalesce(string_agg(xml, ' '), '') as kept
           from (select xml from archive union all select xml from spool) k`,
      );
      return row?.kept ?? '';
    },
    async close(): Promise<void> {
      asker.close();
      await opened.kill();
      await database.close();
      await scratch.drop();
      await rm(folder, { recursive: true, force: true });
    },
  };
  await opened.start();
  return opened;
}
