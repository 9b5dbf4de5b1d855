import { mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import type { CustomerSettings, SiteSettings } from '../../../activities/settings.ts';
import type { FailoverReport } from '../../../workflows/model/moves.ts';
import { readConfiguration } from '../../config/configuration.ts';
import { settingsFor } from '../../config/settings.ts';
import { CUSTOMER, DOMAIN, operatorKeyPath } from '../../embedded/configuration.ts';
import { killSite, reset } from '../../embedded/control.ts';
import { populate } from '../../embedded/people/populate.ts';
import { syntheticPeople } from '../../embedded/people/synthetic.ts';
import { peoplePassword } from '../../embedded/service.ts';
import { up, type Stack } from '../../embedded/stack.ts';
import { Fault } from '../../fault.ts';
import { loadPrivateKey } from '../../keys.ts';
import { failoverStatus, followFailover, startFailover, startMove, type FailoverHandle } from '../../moves.ts';
import { snapshotNow, standbyNow } from '../../snapshots.ts';
import { connectClient } from '../../temporal.ts';
import { sendVerb, signVerb } from '../../verbs.ts';
import { unlessStopped } from '../stopped.ts';
import { signIn, type Signed, type SignIn } from './client.ts';

/** Two real sites whose users sign in, of which one is lost: what production does, from the command to the client. */

export const LOST = 'east';
export const SURVIVOR = 'west';
const SITES = [LOST, SURVIVOR] as const;
/** As long as clients wait. */
const SIGN_IN_LIMIT_MS = 30_000;

/** The server itself, or what paces those who come to it. */
export type Door = 'server' | 'proxy';

export interface Scene {
  /** Signs in at the survivor, or at the other site. */
  enter: (user: string, at?: string) => Promise<Signed>;
  /** How one signs in there. */
  through: (door: Door) => Omit<SignIn, 'user'>;
  address: (user: string) => string;
  lose: () => Promise<void>;
  /** Starts again what was lost. */
  comeBack: () => Promise<void>;
  /** Declares the loss and signs twice; answers the report when it has ended. */
  failOver: () => Promise<FailoverReport>;
  /** Brings them home, once they can; the same. */
  failBack: () => Promise<FailoverReport>;
  stack: Stack;
  client: (site: string) => Client;
  settings: (site: string) => Promise<SiteSettings>;
  close: () => Promise<void>;
}

/** A fresh stack with `users` in each half, covered and applied in both directions. */
export async function openScene(users: number, contacts: number, signal: AbortSignal): Promise<Scene> {
  const folder = await mkdtemp(join(tmpdir(), 'tandem-bench-'));
  try {
    const stack = await up({ folder, workers: true });
    return await unlessStopped(signal, sceneOf(stack, users, contacts));
  } catch (error) {
    await reset(folder);
    throw error;
  }
}

async function sceneOf(stack: Stack, users: number, contacts: number): Promise<Scene> {
  const { folder } = stack;
  const { clients: server, front: proxy } = stack.sites[SURVIVOR] ?? {};
  if (!server || !proxy)
    throw new Fault('bench: ejabberd or HAProxy is not on this machine', 'As root on Debian, `npm test` installs it.');
  const password = await peoplePassword(folder);
  const configuration = await readConfiguration(stack.configuration);
  const clients = new Map<string, Client>();
  for (const site of SITES) {
    const temporal = configuration.sites.get(site)?.temporal;
    if (temporal) clients.set(site, await connectClient(temporal));
  }
  const clientOf = (site: string): Client => {
    const found = clients.get(site);
    if (!found) throw new Error(`no client of ${site}`);
    return found;
  };
  const client = clientOf(SURVIVOR);
  // Those by which probes look come on top.
  const size = { users: 2 * users + syntheticPeople(DOMAIN, SITES).length, contacts: { exactly: contacts } };
  await populate(stack, { seed: 'bench', ...size }, (site) => Promise.resolve(clientOf(site)));
  const settings = (site: string): Promise<SiteSettings> => settingsFor(configuration, site, { reportsFolder: folder });
  await protect(clients, async (site) => (await settings(site)).customers.get(CUSTOMER));
  const ca = await readFile(join(folder, 'tls', 'ca.pem'), 'utf8');
  const doorTo = (door: Door, site: string = SURVIVOR): Omit<SignIn, 'user'> => ({
    at: site === SURVIVOR ? { server, proxy }[door] : (stack.sites[site]?.clients ?? ''),
    domain: DOMAIN,
    password,
    ca,
    limitMs: SIGN_IN_LIMIT_MS,
  });
  return {
    enter: (user, site) => signIn({ ...doorTo('server', site), user }),
    through: doorTo,
    address: (user) => `${user}@${DOMAIN}`,
    async lose() {
      await killSite(folder, LOST);
      await clients.get(LOST)?.connection.close();
      clients.delete(LOST);
    },
    async comeBack() {
      await up({ folder, workers: true });
      const temporal = configuration.sites.get(LOST)?.temporal;
      if (temporal) clients.set(LOST, await connectClient(temporal));
    },
    failOver: () => failOver(client, folder),
    failBack: () => failBack(client, folder),
    stack,
    client: clientOf,
    settings,
    async close() {
      await Promise.all([...clients.values()].map((c) => c.connection.close()));
      await reset(folder);
    },
  };
}

async function protect(
  clients: ReadonlyMap<string, Client>,
  customerAt: (site: string) => Promise<CustomerSettings | undefined>,
): Promise<void> {
  for (const work of [snapshotNow, standbyNow]) {
    const one = async ([site, client]: [string, Client]): Promise<void> => {
      const customer = await customerAt(site);
      if (customer) await work(client, site, customer);
    };
    await Promise.all([...clients].map(one));
  }
}

const asked = { customer: CUSTOMER, reason: 'a measurement', requestedBy: 'operator-1' };

async function failOver(client: Client, folder: string): Promise<FailoverReport> {
  const isolation = 'every process of it was killed';
  return through(await startFailover(client, SURVIVOR, { ...asked, from: LOST, isolation }), folder);
}

async function failBack(client: Client, folder: string): Promise<FailoverReport> {
  const home = { half: LOST, from: SURVIVOR, to: LOST, rule: 'survivor' } as const;
  return through(await startMove(client, SURVIVOR, 'relocate', { ...asked, ...home }), folder);
}

async function through(handle: FailoverHandle, folder: string): Promise<FailoverReport> {
  await followFailover(handle, () => undefined, { enough: ({ phase }) => phase === 'approving', everyMs: 20 });
  for (const operator of ['operator-1', 'operator-2']) {
    const key = await loadPrivateKey(operatorKeyPath(folder, operator));
    await sendVerb(handle, signVerb(await failoverStatus(handle), { verb: 'approve', operator, key }));
  }
  const { report } = await handle.result();
  if (report.outcome !== 'closed')
    throw new Fault(`bench: the move ended as ${report.outcome}`, 'Its report tells why.');
  return report;
}
