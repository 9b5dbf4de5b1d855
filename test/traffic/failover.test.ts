import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Database } from '../../activities/contacts/database.ts';
import { makePlan } from '../../activities/services/plan.ts';
import { openSite } from '../../activities/services/site.ts';
import { haproxySwitch } from '../../activities/traffic/haproxy.ts';
import { leadBack } from '../../activities/traffic/lead-back.ts';
import type { SiteSettings } from '../../activities/settings.ts';
import { findBind } from '../../ops/reference-service/bind.ts';
import { findHaproxy } from '../../ops/reference-service/haproxy.ts';
import type { Plan } from '../../workflows/model/plan.ts';
import { approve, ask, cover, declaration, declare, reach, servable } from '../rig/failovers.ts';
import { CUSTOMER, openRegion, type Region } from '../rig/region.ts';
import { nameServer, proxyBefore, removeFolder, scratchFolder, type NameServer, type Proxy } from './ends.ts';
import { relayTo, type Relay } from './relay.ts';

/** A whole failover that leads users by a real name server and a real proxy. */

const RUNBOOK = `kind: failover
name: Led elsewhere
steps:
  - { id: epoch, act: advance-epoch }
  - { id: fence, act: fence-site, needs: [epoch] }
  - { id: contacts, act: restore-contacts, needs: [epoch] }
  - { id: serve, act: serve-users, needs: [fence, contacts] }
  - { id: dns, act: shift-dns, needs: [serve], timeout: 8s }
  - { id: proxy, act: shift-proxy, needs: [serve] }
`;

let folder: string;
let region: Region;
let names: NameServer;
let proxy: Proxy;
let relay: Relay;

function west(configured: boolean): SiteSettings {
  const { west: settings } = region.settings;
  const customer = settings.customers.get(CUSTOMER);
  if (!customer) throw new Error('no customer');
  const runbooks = new Map([['failover' as const, join(folder, 'led.yaml')]]);
  const led = configured
    ? { ...customer, ...names.settings(relay.address).customer, ...proxy.settings().customer, runbooks }
    : { ...customer, runbooks };
  return {
    ...settings,
    ...(configured && proxy.settings().site),
    customers: new Map([[CUSTOMER, led]]),
  };
}

async function planOf(settings: SiteSettings): Promise<Plan> {
  const site = openSite(settings);
  try {
    return await makePlan(site, { input: declaration(), declaredAt: new Date().toISOString() });
  } finally {
    await site.close();
  }
}

// Real servers are not on every machine: root on Debian gets them by `npm test` itself, and CI is that.
describe.skipIf(findBind() === null || findHaproxy() === null)('a failover that leads users elsewhere', () => {
  beforeAll(async () => {
    folder = await scratchFolder();
    names = await nameServer(folder);
    proxy = await proxyBefore(folder);
    region = await openRegion({ users: 10 });
    relay = await relayTo(Number(names.dns.server.split(':')[1]));
    await writeFile(join(folder, 'led.yaml'), RUNBOOK);
    await names.byHand(['east', 'west']);
    await cover(region);
    region.lose('east');
  });
  afterAll(async () => {
    // Servers of processes of their own: whatever else fails, they do not outlive the test.
    await Promise.all([names.close(), proxy.close()]);
    relay.close();
    await region.close();
    await removeFolder(folder);
  });

  it('cannot be signed where nothing is configured, and says what is away before anybody signs', async () => {
    await writeFile(
      join(folder, 'led.yaml'),
      RUNBOOK.replaceAll(/act: shift-(dns|proxy),/g, 'act: shift-$1, when: $1,'),
    );
    const only = await Promise.all([planOf(west(false)), planOf(west(true))]);
    expect(only.map(({ decisions: { leftOut, steps }, blockers }) => [leftOut, steps.length, blockers])).toEqual([
      [
        [
          { id: 'dns', when: 'dns' },
          { id: 'proxy', when: 'proxy' },
        ],
        4,
        [],
      ],
      [undefined, 6, []],
    ]);
    await writeFile(join(folder, 'led.yaml'), RUNBOOK);
    expect((await planOf(west(false))).blockers.map(({ kind, text }) => `${kind}: ${text.slice(0, 16)}`)).toEqual([
      'not-configured: step dns: the co',
      'not-configured: step proxy: the ',
    ]);
    const plan = await planOf(west(true));
    expect([plan.blockers, plan.decisions.acceptances]).toEqual([[], undefined]);
    relay.onRequest = () => new Promise(() => undefined);
    const silent = await planOf(west(true));
    relay.onRequest = () => Promise.resolve();
    expect(silent.survivor?.filter(({ ok }) => !ok)).toMatchObject([
      { name: 'name server', told: expect.stringContaining('no answer within 3 s') as unknown },
    ]);
    expect([silent.blockers, silent.decisions.acceptances]).toEqual([[], ['survivor-unproven']]);
  });

  it('serves users while the name server is silent, and leads them when it answers; its claim is there at the end', async () => {
    region.settings.west = west(true);
    await region.work('west');
    const handle = await declare(region);
    const [first, second] = region.operators;
    if (!first || !second) throw new Error('two operators');
    await approve(handle, first);
    relay.onRequest = () => new Promise(() => undefined);
    await approve(handle, second);
    const served = await reach(handle, (s) => s.steps.find(({ id }) => id === 'proxy')?.state === 'done');
    expect(served.steps.find(({ id }) => id === 'dns')?.state).not.toBe('done');
    expect(await servable(region, 'west', 'east')).toBeGreaterThan(0);
    expect([await proxy.leads(), await names.leads(), await names.epoch()]).toEqual([['west'], ['east', 'west'], []]);
    relay.onRequest = () => Promise.resolve();
    const { report } = await handle.result();
    expect(report.outcome).toBe('closed');
    expect(await names.leads()).toEqual(['west']);
    expect(await names.epoch()).toEqual([`${report.epoch} west ${report.move}`]);
    expect(report.claims).toContainEqual({ store: 'dns', claimed: true, because: null });
    expect(report.alarms.map(({ text }) => text).join()).toContain('the dns does not hold the claim');
  }, 60_000);

  it('is led back where a move has led away, once users are there again, and never over what people have done', async () => {
    const settings = west(true);
    const customer = settings.customers.get(CUSTOMER);
    if (!customer) throw new Error('no customer');
    const database = new Database('west', region.urls.west, { connections: 2, connectMs: 5000, statementMs: 10_000 });
    const back = () => leadBack(settings, customer, database);
    const led = (sites: string, epoch: number) =>
      ask(region, 'west', `update tandem.led set sites = '${sites}', epoch = ${epoch}`);
    const to = async (site: string) => {
      const { backends } = customer;
      if (!settings.proxy || !backends) throw new Error('no proxy');
      const shift = { customer: CUSTOMER, epoch: { number: 1, site: 'west', move: 'm' }, to: [site] };
      await haproxySwitch({ proxy: settings.proxy, backends }).shift(shift, AbortSignal.timeout(5000));
    };
    try {
      await to('east');
      // By people: the last that a move did was to lead here.
      expect(await back()).toEqual([]);
      // By the newest epoch: its own move is not at its end.
      await led('{east}', 99);
      expect(await back()).toEqual([]);
      await led('{east}', 1);
      expect(await back()).toEqual([expect.stringMatching(/leads users to west again, who serve under epoch \d/)]);
      expect(await ask(region, 'west', 'select sites from tandem.led')).toEqual([{ sites: ['west'] }]);
      expect(await back()).toEqual([]);
    } finally {
      await database.close();
    }
  });
});
