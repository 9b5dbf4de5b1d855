import { readFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { Client } from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { ProbeResult } from '../../activities/probes/services/port.ts';
import { probeService } from '../../activities/probes/services/probe.ts';
import { stopProcess } from '../../ops/embedded/processes.ts';
import type { Site } from '../rig/databases.ts';
import { points } from '../rig/form.ts';
import { address, DOMAIN, ejabberd, PASSWORD, startServiceSites, type ServiceSites } from '../rig/service.ts';
import { wayTo, type Way } from '../rig/way.ts';
import type { Session } from '../rig/xmpp.ts';

/** What befalls one of two real sites: its probe sees it within its limit, and nobody at the other one waits for it. */

const LIMIT_MS = 8000;
/** Of a message between two users of the other site; a machine that starts clients is busy. */
const PROMPT_MS = 1500;
const accounts = { east: ['anna', 'aron', 'arno'], west: ['wendy', 'wilma', 'wolf'] } as const;
/** Two more of west, who talk meanwhile. */
const users: Record<string, Site> = { wanda: 'west', will: 'west' };
for (const site of ['east', 'west'] as const) for (const user of accounts[site]) users[user] = site;
let service: ServiceSites;
/** To east: its database below it, and its client port. */
let database: Way;
let clients: Way;

async function look(site: Site): Promise<ProbeResult & { tookMs: number }> {
  const [first, second, third] = accounts[site];
  const account = (user: string) => ({ user, password: PASSWORD });
  const at = site === 'east' ? `127.0.0.1:${clients.port}` : `${address.west}:${service.clients}`;
  const ca = await readFile(service.authority.certificate, 'utf8');
  const began = performance.now();
  const result = await probeService({
    service: 'instant-messaging',
    target: { domain: DOMAIN, clients: at, web: null, address: null, resolver: null, ca },
    accounts: { first: account(first), second: account(second), third: account(third) },
    relay: false,
    partner: null,
    provisioner: null,
    limitMs: LIMIT_MS,
    signal: new AbortController().signal,
  });
  return { ...result, tookMs: performance.now() - began };
}

/** Two users of west talk while `work` is done: the longest that a message took, ms. */
async function talking(work: () => Promise<void>): Promise<number> {
  const [wanda, will]: Session[] = [await service.signIn('wanda', 'west'), await service.signIn('will', 'west')];
  if (!wanda || !will) throw new Error('two sessions are needed');
  const meanwhile = { over: false, worst: 0 };
  const done = work().finally(() => Object.assign(meanwhile, { over: true }));
  for (let n = 0; !meanwhile.over; n += 1) {
    const said = performance.now();
    wanda.say(`will@${DOMAIN}`, `number ${n}`);
    await expect.poll(() => will.heard.at(-1), { timeout: 10_000, interval: 20 }).toBe(`wanda@${DOMAIN}: number ${n}`);
    meanwhile.worst = Math.max(meanwhile.worst, performance.now() - said);
    await setTimeout(100); // People pause; and the machine is not theirs alone.
  }
  await done;
  expect([wanda.ended, will.ended]).toEqual([null, null]);
  return meanwhile.worst;
}

async function locked(table: string): Promise<() => Promise<void>> {
  const client = new Client({ connectionString: service.url('east') });
  await client.connect();
  await client.query(`begin; lock table ${table} in access exclusive mode`);
  return () => client.end();
}
const frozen = (): (() => Promise<void>) => {
  process.kill(service.processes.east.pid, 'SIGSTOP');
  return () => Promise.resolve(void process.kill(service.processes.east.pid, 'SIGCONT'));
};
const while_ = (way: Way, change: Partial<Pick<Way, 'delayMs' | 'silent'>>): (() => Promise<void>) => {
  Object.assign(way, change);
  return () => Promise.resolve(void Object.assign(way, { delayMs: 0, silent: false }));
};

// A real ejabberd is not on every machine: root on Debian gets it by `npm test` itself, and CI is that.
describe.skipIf(ejabberd === null)('a site', () => {
  beforeAll(async () => {
    if (!ejabberd) return;
    service = await startServiceSites(ejabberd, users, null, async (site, url) => {
      if (site === 'west') return url;
      const { hostname, port } = new URL(url);
      database = await wayTo(hostname, Number(port));
      return Object.assign(new URL(url), { host: `127.0.0.1:${database.port}` }).toString();
    });
    clients = await wayTo(address.east, service.clients);
  }, 60_000);
  afterEach(() => service?.leaveAll());
  afterAll(async () => {
    await service?.close();
    await Promise.all([database?.close(), clients?.close()]);
  }, 30_000);

  /** East is seen to be broken, and west to be whole, at the same time. */
  async function seen(told: RegExp): Promise<void> {
    const worst = await talking(async () => {
      const [east, west] = await Promise.all([look('east'), look('west')]);
      expect(east.because).toMatch(told);
      expect(east.tookMs).toBeLessThan(LIMIT_MS + 700);
      expect(west.because).toBe('');
    });
    expect(worst).toBeLessThan(PROMPT_MS);
  }

  type Fault = [string, () => (() => Promise<void>) | Promise<() => Promise<void>>, RegExp];
  const silence = /to sign in .*; saw nothing more than a connection without an answer, after/;
  const below = /to sign in .*; saw (nothing more|system-shutdown|.*auth)/;
  const befallen = points<Fault>(
    [
      ['that is frozen', frozen, silence],
      ['with a database below it that no longer answers', () => while_(database, { silent: true }), below],
    ],
    [
      [
        'whose network carries nothing any more, and keeps its connections',
        () => while_(clients, { silent: true }),
        silence,
      ],
      ['with a slow database below it', () => while_(database, { delayMs: 2500 }), below],
      ['whose accounts are locked in its database', () => locked('users'), /to sign in .*; saw (nothing more|.*auth)/],
    ],
  );

  it.each(befallen)(
    '%s is seen within the limit, and holds up nobody at the other one',
    async (_, befall, told) => {
      await expect.poll(async () => (await look('east')).because, { timeout: 40_000 }).toBe('');
      const mend = await befall();
      try {
        await seen(told);
      } finally {
        await mend();
      }
    },
    90_000,
  );

  it('that is dead is seen at once, and holds up nobody at the other one', async () => {
    await expect.poll(async () => (await look('east')).because, { timeout: 40_000 }).toBe('');
    await stopProcess(service.folder, service.processes.east, 'SIGKILL', 5000);
    await seen(/to sign in .*; saw (the server ended the session|.*ECONN|nothing more than)/);
    expect((await look('east')).tookMs).toBeLessThan(LIMIT_MS);
  }, 90_000);
});
