import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SiteActivities } from '../../activities/types.ts';
import { siteActivities } from '../../ops/activities.ts';
import { prepareSite } from '../../ops/prepare.ts';
import { prepareNamespace } from '../../ops/temporal.ts';
import { droppingPort, hungSite, withoutSite, type HungSite } from '../rig/black-holes.ts';
import { approve, cover, declare, servable } from '../rig/failovers.ts';
import { points } from '../rig/form.ts';
import { openRegion, type Region } from '../rig/region.ts';

/**
 * The survivor needs nothing from the lost site. Not the time of a step shows that, which the machine blurs, but whom it
 * calls: each activity has a lost site of its own, whose every address hangs and counts.
 */

/** Limits of the lost site add up on a machine that is busy. */
const BUSY = { timeout: 150_000 };

let region: Region;
const sites = new Map<string, HungSite>();
beforeAll(async () => {
  region = await openRegion({ users: 10 });
  await cover(region);
});
afterAll(async () => {
  await region.close();
  await Promise.all([...sites.values()].map((site) => site.close()));
});

/** What a part of the survivor may call of the lost site, and nobody else does. */
async function siteFor(part: string): Promise<HungSite> {
  const site = await hungSite();
  sites.set(part, site);
  return site;
}

/** Each activity of the survivor, as it is on a site whose peer is lost in a way of its own. */
async function eachAlone(real: SiteActivities): Promise<SiteActivities> {
  const entries = await Promise.all(
    (Object.keys(real) as (keyof SiteActivities)[]).map(async (name) => {
      const { ports } = await siteFor(name);
      return [name, siteActivities(withoutSite(region.settings.west, 'east', ports))[name]] as const;
    }),
  );
  return Object.fromEntries(entries) as unknown as SiteActivities;
}

function touched(): Record<string, string[]> {
  const parts = [...sites].map(([part, site]): [string, string[]] => [part, site.touched()]);
  return Object.fromEntries(parts.filter(([, what]) => what.length > 0));
}

async function movedBy(acts?: SiteActivities): Promise<void> {
  await region.work('west', (real) => acts ?? real);
  const handle = await declare(region);
  for (const operator of region.operators.slice(0, 2)) await approve(handle, operator);
  const { report } = await handle.result();
  expect(report).toMatchObject({ outcome: 'closed', mismatches: 0 });
  expect(await servable(region, 'west', 'east')).toBe(5);
}

describe('a failover on an empty Temporal service, while every call to the lost site hangs', () => {
  it('calls it only to look at it and to close it: never to restore, serve, prove, record or close', BUSY, async () => {
    region.emptyTemporal('west');
    const { west } = region.clients;
    const atStart = await siteFor('start of the worker');
    await prepareNamespace(west, west.options.namespace);
    await prepareSite(withoutSite(region.settings.west, 'east', atStart.ports), west, () => undefined);
    // What comes due every five minutes is no part of a failover, and pulls from the lost vault as it always does.
    for await (const { scheduleId } of west.schedule.list()) await west.schedule.getHandle(scheduleId).pause();
    await movedBy(await eachAlone(siteActivities(region.settings.west)));
    expect(touched()).toEqual({
      'start of the worker': ['vault'],
      'make-plan': ['database', 'vault', 'temporal', 'sign-in', 'api'],
      'advance-epoch': ['database', 'vault', 'temporal', 'sign-in', 'api'],
      'fence-site': ['database'],
    });
  });

  // Of hanging in one more way.
  const ways = points([], [{ how: 'the packets to it are dropped, and no connection even opens', port: droppingPort }]);
  it.each(ways)('ends the same when $how', BUSY, async ({ port }) => {
    const dropping = await hungSite(port);
    sites.set('dropping', dropping);
    region.emptyTemporal('west');
    const { west } = region.clients;
    region.lose('east', dropping.ports);
    await prepareNamespace(west, west.options.namespace);
    await prepareSite(region.settings.west, west, () => undefined);
    await movedBy();
  });
});
