import { afterEach, describe, expect, it } from 'vitest';
import { applyStandby } from '../../activities/contacts/standby.ts';
import { readUnsalvaged } from '../../activities/contacts/salvaged.ts';
import { coverage, listSnapshots, newestSnapshot } from '../../activities/vault/catalog.ts';
import { openSalvage, readSalvage, salvageKey } from '../../activities/vault/open-salvage.ts';
import { salvageHalves, type SalvageRequest } from '../../activities/vault/salvage.ts';
import { openStored } from '../../activities/vault/pack-reader.ts';
import { encodedRows, type UserRecord } from '../../activities/vault/record.ts';
import type { SalvageSummary } from '../../workflows/model/snapshots.ts';
import { copyRows, differences } from '../contacts/same.ts';
import { below, DAY, openCleaning, type Cleaning } from './cleaning.ts';
import { CUSTOMER, quiet } from './world.ts';

/** East was lost under epoch 1, west serves its users under epoch 2, and east is back. */

let world: Cleaning;
afterEach(() => world.drop());

const request = (changes: Partial<SalvageRequest> = {}): SalvageRequest => ({
  vault: world.vaults.east,
  database: world.databases.east,
  customer: CUSTOMER,
  site: 'east',
  keys: world.keys,
  signingKey: world.signingKeys.east,
  publicKeys: world.publicKeys,
  maxAgeMs: 60_000,
  restored: () => Promise.resolve(null),
  ...quiet,
  ...changes,
});
const salvage = (changes?: Partial<SalvageRequest>): Promise<SalvageSummary[]> => salvageHalves(request(changes));
const shelf = () => ({ vault: world.vaults.east, customer: CUSTOMER, site: 'east', publicKeys: world.publicKeys });
const due = () => readUnsalvaged(world.databases.east, CUSTOMER, 'east');

async function change(site: 'east' | 'west', jid: string): Promise<string> {
  const [row] = await world.sql(
    site,
    `insert into rosterusers (username, jid, nick, subscription, ask, askmessage, server, subscribe, type)
     select username, $1, '', 'B', 'N', '', 'N', '', 'item' from tandem.home where site = 'east' order by username limit 1
     returning username`,
    [jid],
  );
  return String(row?.['username']);
}

/** The way there: both sites have each other's snapshot, then east changes once more and is lost. */
async function lose(): Promise<string> {
  world = await openCleaning();
  await world.take('east');
  await world.pull('west');
  const changed = await change('east', 'unsent@example');
  await close('east');
  await world.sql('west', "update tandem.epoch set number = 2, site = 'west', move = 'm'");
  await world.sql('west', "update tandem.serving set site = 'west', epoch = 2");
  return changed;
}
const close = (site: 'east' | 'west') =>
  world.sql(site, "update tandem.epoch set number = 2, site = 'west', move = 'm'");
/** East learns that west serves its users. */
const turnOver = () => world.sql('east', "update tandem.serving set site = 'west', epoch = 2");

async function applyAtEast() {
  const taken = await world.take('west');
  await world.pull('east');
  const snapshot = await world.open('east', taken);
  return applyStandby({ database: world.databases.east, site: 'east', snapshot, keys: world.keys, ...quiet });
}

const rowsOf = ({ bytes }: UserRecord): string =>
  encodedRows(bytes)
    .map((row) => row.toString('latin1'))
    .join();

describe('at a site that came back', () => {
  it('its database tells the peer what is due, what was salvaged, and what it holds applied', async () => {
    await lose();
    const told = () => world.sql('east', 'select * from tandem.observe_salvage()');
    const at = { customer: CUSTOMER, half: 'east', epoch: '1' };
    expect(await told()).toEqual([{ ...at, manifest: null, released: false }]);
    const [done] = await salvage();
    expect(await told()).toEqual([{ ...at, manifest: done?.manifest, released: false }]);
    await turnOver();
    expect(await told()).toHaveLength(1);
    expect(await world.sql('east', 'select * from tandem.observe_applied()')).toEqual([]);
    await applyAtEast();
    expect(await world.sql('east', 'select * from tandem.observe_applied()')).toEqual([
      expect.objectContaining({ customer: CUSTOMER, site: 'west', seq: '1', point: expect.any(Date) as Date }),
    ]);
  });

  it('no standby copy is applied over what was not salvaged', async () => {
    const name = await lose();
    await turnOver();
    const mine = await copyRows(world, 'east', 'east');
    await expect(applyAtEast()).rejects.toMatchObject({ type: 'salvage-due' });
    expect(await differences(world, 'east', 'east', mine)).toBe(0);
    await salvage();
    expect(await applyAtEast()).toMatchObject({ users: 20, conflicts: 1 });
    const found = await world.sql('east', 'select jid from rosterusers where username = $1', [name]);
    expect(found.map((r) => r['jid'])).not.toContain('unsent@example');
  });

  it('nor when the row of the right to serve was taken away and written anew', async () => {
    await lose();
    await world.sql('east', "delete from tandem.serving where half = 'east'");
    await world.sql('east', "insert into tandem.serving (customer, half, site, epoch) values ($1, 'east', 'west', 2)", [
      CUSTOMER,
    ]);
    await expect(applyAtEast()).rejects.toMatchObject({ type: 'salvage-due' });
  });

  it('its salvage is never offered as a recovery point, nor counted', async () => {
    await lose();
    const protection = () =>
      coverage(
        { customer: CUSTOMER, site: 'east', peer: 'west', publicKeys: world.publicKeys },
        { source: world.readers.east, cover: world.vaults.west },
      );
    const before = [await listSnapshots(shelf()), await newestSnapshot(shelf()), await protection()];
    await salvage();
    expect([await listSnapshots(shelf()), await newestSnapshot(shelf()), await protection()]).toEqual(before);
    expect(await world.pull('west')).toMatchObject({ pulled: [] });
    expect(below(await world.everything('west'), 'salvage')).toEqual([]);
    // Nor do its bytes pass for a snapshot's: its packs are sealed for another place.
    const found = await readSalvage(request(), 1);
    const [pack] = found?.salvage.packs ?? [];
    if (!pack) throw new Error('no pack');
    const vault = Object.create(world.vaults.east, {
      read: {
        value: (key: string, ...rest: [never, never]) =>
          world.vaults.east.read(key.replace('acme/east/0000000001', 'acme/east/salvage/0000000001'), ...rest),
      },
    }) as typeof world.vaults.east;
    const place = { customer: CUSTOMER, site: 'east', gen: 1 };
    await expect(openStored(vault, place, pack, world.keys)).rejects.toThrow();
  });

  it('holds every row of its disk, readable by the peer, and changes none', async () => {
    const name = await lose();
    const mine = await copyRows(world, 'east', 'east');
    const [done] = await salvage();
    expect(done).toMatchObject({ epoch: 1, halves: ['east'], counts: { users: 10 }, suspect: null });
    expect(await differences(world, 'east', 'east', mine)).toBe(0);
    const peer = await openSalvage({ ...request(), vault: world.readers.east }, 1);
    const record = await peer.record(name);
    expect(record && rowsOf(record)).toContain('unsent@example');
    let users = 0;
    for await (const found of peer.records()) users += found.bytes.length > 0 ? 1 : 0;
    expect(users).toBe(10);
  });

  it('a second run answers the first, whatever has changed since, and another epoch has its own', async () => {
    await lose();
    const [first] = await salvage();
    await change('east', 'later@example');
    await world.sql('east', 'delete from tandem.salvage');
    expect(await salvage()).toEqual([first]);
    expect(await salvage()).toEqual([]);
    await world.sql('east', "update tandem.serving set epoch = 3 where half = 'east'");
    await world.sql('east', 'update tandem.epoch set number = 4');
    const [second] = await salvage();
    expect(second).toMatchObject({ epoch: 3 });
    expect(second?.manifest).not.toBe(first?.manifest);
  });

  it('a run that dies leaves garbage, and no half a salvage', async () => {
    await lose();
    const stop = new AbortController();
    const vault = Object.create(world.vaults.east, {
      put: {
        value: (key: string, ...rest: [never]) => {
          if (!key.endsWith('/salvage.json')) return world.vaults.east.put(key, ...rest);
          stop.abort();
          throw new Error('killed');
        },
      },
    }) as typeof world.vaults.east;
    await expect(salvage({ vault, signal: stop.signal })).rejects.toThrow();
    expect(below(await world.everything('east'), '/salvage/').length).toBeGreaterThan(0);
    expect(await readSalvage(request(), 1)).toBeNull();
    expect(await due()).toEqual([{ epoch: 1, halves: ['east'] }]);
    expect(await salvage()).toHaveLength(1);
    expect(await due()).toEqual([]);
  });

  it('a disk that was emptied, or is another one, is salvaged as suspect', async () => {
    await lose();
    await world.sql('east', 'delete from rosterusers');
    await world.sql('east', 'delete from rostergroups');
    expect(await salvage()).toMatchObject([{ suspect: expect.stringContaining('contacts are gone') as string }]);
  });

  it('what another site has signed is no salvage, and stands in nobody’s way', async () => {
    await lose();
    await expect(salvage({ signingKey: world.signingKeys.west })).rejects.toThrow('is not there');
    await expect(readSalvage(request(), 1)).rejects.toMatchObject({ type: 'signature-invalid' });
    expect(await due()).toHaveLength(1);
    const [done] = await salvage();
    expect((await readSalvage(request(), 1))?.salvage.point).toBe(done?.point);
  });

  it('a site that serves has nothing to be salvaged', async () => {
    world = await openCleaning();
    expect(await due()).toEqual([]);
    expect(await salvage()).toEqual([]);
  });
});

describe('retention', () => {
  const kept = async () => below(await world.everything('east'), '/salvage/');

  it('keeps a salvage, however old, until the way home has released it; then it goes, and nothing else', async () => {
    await lose();
    await salvage();
    const before = await kept();
    expect(before.length).toBeGreaterThan(1);
    const later = { now: () => Date.now() + 400 * DAY };
    expect(await world.clean('east', later)).toMatchObject({ salvages: { pinned: 1, deleted: 0 }, unknown: 0 });
    // A database that knows nothing of it says nothing of it.
    await world.sql('east', 'delete from tandem.salvage');
    expect(await world.clean('east', later)).toMatchObject({ salvages: { pinned: 1 } });
    expect(await kept()).toEqual(before);
    await salvage();
    const release = () => world.sql('east', `select tandem.release_salvages('${CUSTOMER}', 'east', 1)::int as n`);
    // Not home yet: west serves the half, and then east would by an older epoch than it knows.
    expect(await release()).toEqual([{ n: 0 }]);
    await turnOver();
    expect(await release()).toEqual([{ n: 0 }]);
    await world.sql('east', "update tandem.serving set site = 'east', epoch = 3 where half = 'east'");
    expect(await release()).toEqual([{ n: 0 }]);
    await world.sql('east', 'update tandem.epoch set number = 3');
    expect(await release()).toEqual([{ n: 1 }]);
    expect(await release()).toEqual([{ n: 0 }]);
    expect(await world.clean('east', { now: () => Date.now() + 30 * DAY })).toMatchObject({ salvages: { kept: 1 } });
    expect(await kept()).toEqual(before);
    const others = (await world.everything('east')).filter((key) => !key.includes('/salvage/'));
    expect(await world.clean('east')).toMatchObject({ salvages: { deleted: 1 } });
    expect(await kept()).toEqual([]);
    expect(await world.everything('east')).toEqual(others);
  });

  it('lets one go whose half was given back before anybody else had it: its rows went on', async () => {
    await lose();
    await salvage();
    const released = () => world.sql('east', 'select from tandem.salvage where released_at is not null');
    await world.sql('east', "update tandem.serving set epoch = 1 where half = 'east'");
    expect(await released()).toHaveLength(0);
    await world.sql('east', "update tandem.serving set epoch = 3 where half = 'east'");
    expect(await released()).toHaveLength(1);
    await world.sql('east', 'update tandem.salvage set released_at = null');
    await world.sql('east', "update tandem.serving set site = 'west', epoch = 4 where half = 'east'");
    await world.sql('east', "update tandem.serving set site = 'east', epoch = 5 where half = 'east'");
    expect(await released()).toHaveLength(0);
  });

  it('takes nothing of it for a stray', async () => {
    await lose();
    await salvage();
    const [check] = (await world.held('east')).filter((c) => c.of === 'east');
    expect(check?.strays).toMatchObject({ unknown: 0 });
    expect(salvageKey(CUSTOMER, 'east', 1)).toBe('acme/east/salvage/0000000001/salvage.json');
  });
});
