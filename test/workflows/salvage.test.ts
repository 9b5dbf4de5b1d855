import { afterAll, beforeAll, expect, it } from 'vitest';
import { failure } from '../../workflows/model/failures.ts';
import { readUnsalvaged } from '../../activities/contacts/salvaged.ts';
import { Database } from '../../activities/contacts/database.ts';
import { readSalvage } from '../../activities/vault/open-salvage.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { snapshotNow, standbyNow } from '../../ops/snapshots.ts';
import { SiteMetrics } from '../../ops/metrics.ts';
import { CUSTOMER, openRegion, type Region } from '../rig/region.ts';
import { guarded } from '../watch/ground.ts';

/** East comes back; west serves its users, and has a snapshot of them. */

let region: Region;
let east: Database;
beforeAll(async () => {
  region = await openRegion({ users: 20 });
  east = new Database('east', region.urls.east, { connections: 2, connectMs: 5000, statementMs: 60_000 });
  const west = new Database('west', region.urls.west, { connections: 2, connectMs: 5000, statementMs: 60_000 });
  try {
    for (const database of [east, west])
      await database.query("update tandem.epoch set number = 2, site = 'west', move = 'm'");
    await west.query("update tandem.serving set site = 'west', epoch = 2");
    await east.query("update tandem.serving set site = 'west', epoch = 2 where half = 'west'");
  } finally {
    await west.close();
  }
});
afterAll(async () => {
  await east.close();
  await region.close();
});

const customer = () => {
  const found = region.settings.west.customers.get(CUSTOMER);
  if (!found) throw new Error('no customer');
  return found;
};
const due = () => readUnsalvaged(east, CUSTOMER, 'east');

it('whose salvage fails covers its peer all the same, and is given no copy', async () => {
  const worker = await region.work('west');
  await snapshotNow(region.clients.west, 'west', customer());
  await worker.stop();
  const refusing = await region.work('east', (real) => ({
    ...real,
    'salvage-halves': () => Promise.reject(failure('vault-refused', 'vault east: full')),
  }));
  await expect(standbyNow(region.clients.east, 'east', customer())).rejects.toThrow();
  await refusing.stop();
  expect(await due()).toEqual([{ epoch: 1, halves: ['east'] }]);
  expect(await east.query('select from tandem.applied')).toHaveLength(0);
  expect(await east.query("select from tandem.high_water where site = 'west'")).toHaveLength(1);
});

it('salvages by itself, before anything is pulled or applied', async () => {
  const seen: string[] = [];
  const worker = await region.work('east', (real) => ({
    ...real,
    'salvage-halves': (input) => real['salvage-halves'](input).finally(() => seen.push('salvaged')),
    'pull-snapshots': async (input) => {
      const pull = await real['pull-snapshots'](input);
      seen.push(`pulled ${pull.pulled.length}`);
      return pull;
    },
    'apply-standby': (input) => real['apply-standby'](input).finally(() => seen.push('applied')),
  }));
  const found = await standbyNow(region.clients.east, 'east', customer());
  expect(found.salvaged).toMatchObject([{ epoch: 1, halves: ['east'], counts: { users: 10 } }]);
  expect(seen).toEqual(['pulled 0', 'salvaged', 'pulled 0', 'applied']);
  expect(await due()).toEqual([]);
  const again = await standbyNow(region.clients.east, 'east', customer());
  expect(again).not.toHaveProperty('salvaged');
  const vault = new S3Vault(region.settings.east.vault);
  const { publicKeys } = region.settings.east;
  expect(await readSalvage({ vault, customer: CUSTOMER, site: 'east', publicKeys }, 1)).not.toBeNull();
  vault.close();
  await worker.stop();
});

it('follows its peer by itself then, and is the copy of everybody', async () => {
  const worker = await region.work('east');
  const before = await standbyNow(region.clients.east, 'east', customer());
  expect(before.applied).toMatchObject({ counts: { users: 10, held: 10 } });
  const ending = new AbortController();
  const said: string[] = [];
  const guarding = guarded(region.settings.east, new SiteMetrics(), ending.signal, (line) => said.push(line));
  const served = () => east.query('select half, site, epoch::int from tandem.serving order by half');
  await expect.poll(served, { timeout: 60_000 }).toContainEqual({ half: 'east', site: 'west', epoch: 2 });
  ending.abort();
  await guarding;
  expect(said).toContain(`${CUSTOMER}: its peer serves east under epoch 2: this site is their copy now`);
  const after = await standbyNow(region.clients.east, 'east', customer());
  expect(after.applied).toMatchObject({ counts: { users: 20, held: 0 } });
  expect(await standbyNow(region.clients.east, 'east', customer())).toMatchObject({ applied: null });
  await worker.stop();
});

it('proves and applies what came quickly at once, and says so as ever; what fails of it fails by its own name', async () => {
  const west = await region.work('west');
  const seen: string[] = [];
  const worker = await region.work('east', (real) => ({
    ...real,
    'verify-snapshot': (input) => real['verify-snapshot'](input).finally(() => seen.push('verified')),
    'apply-standby': (input) => real['apply-standby'](input).finally(() => seen.push('applied')),
  }));
  const taken = await snapshotNow(region.clients.west, 'west', customer());
  const found = await standbyNow(region.clients.east, 'east', customer());
  expect(found).toMatchObject({
    pulled: 1,
    receipt: { snapshot: { seq: taken.seq } },
    applied: { counts: { users: 20 } },
  });
  expect(seen).toEqual([]);
  // This site knows a newer epoch than the snapshot's: it is not applied, and what was proven stands.
  await east.query("update tandem.epoch set number = 9, site = 'east', move = 'other'");
  const later = await snapshotNow(region.clients.west, 'west', customer());
  await expect(standbyNow(region.clients.east, 'east', customer())).rejects.toMatchObject({
    cause: { cause: { type: 'epoch-superseded' } },
  });
  expect(seen).toEqual(['verified', 'applied']);
  expect(later.seq).toBe(taken.seq + 1);
  await Promise.all([west.stop(), worker.stop()]);
});
