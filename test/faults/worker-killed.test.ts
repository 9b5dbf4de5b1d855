import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import { Client as PgClient } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SiteSettings } from '../../activities/settings.ts';
import { listSnapshots } from '../../activities/vault/catalog.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { readConfiguration } from '../../ops/config/configuration.ts';
import { settingsFor } from '../../ops/config/settings.ts';
import { operatorKeyPath } from '../../ops/embedded/configuration.ts';
import { down, killProcess, killSite } from '../../ops/embedded/control.ts';
import { compareWitness, makeWitness } from '../../ops/embedded/demo/witness.ts';
import { createPeople } from '../../ops/embedded/people/people.ts';
import { startWorker, up, type Stack } from '../../ops/embedded/stack.ts';
import { loadPrivateKey } from '../../ops/keys.ts';
import {
  failoverHandle,
  failoverStatus,
  followFailover,
  sendVerb,
  signVerb,
  startFailover,
  type FailoverHandle,
} from '../../ops/moves.ts';
import { snapshotNow, standbyNow } from '../../ops/snapshots.ts';
import { connectClient } from '../../ops/temporal.ts';
import type { FailoverStatus } from '../../workflows/model/moves.ts';
import { sql } from '../rig/sql.ts';

/**
 * A stack of its own, with worker processes that are killed with -9 at every phase. One story: the snapshot, then the
 * loss of a site on a survivor whose Temporal databases are empty, then a failover whose worker dies again and again.
 */

let stack: Stack;
let settings: SiteSettings;
const customer = 'contoso';
const USERS = 2000;

beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tandem-faults-'));
  stack = await up({ folder, workers: true });
  settings = await settingsFor(await readConfiguration(stack.configuration), 'west', {
    reportsFolder: join(folder, 'reports'),
  });
  await createPeople({
    seed: 'faults',
    users: USERS,
    customer,
    sites: ['east', 'west'],
    urls: { east: urlOf('east'), west: urlOf('west') },
  });
});
afterAll(async () => {
  await down(stack.folder);
  await rm(stack.folder, { recursive: true, force: true });
});

const urlOf = (site: string): string => stack.sites[site]?.databaseUrl ?? '';
const clientAt = (site: string): Promise<Client> =>
  connectClient({ address: stack.sites[site]?.temporalAddress ?? '', namespace: 'tandem' });
const customerSettings = (): NonNullable<ReturnType<SiteSettings['customers']['get']>> => {
  const found = settings.customers.get(customer);
  if (!found) throw new Error('no customer');
  return found;
};

/** Kills a site's worker with -9 and starts the next; answers when the run can be asked again. */
async function replaceWorker(site: string): Promise<void> {
  await killProcess(stack.folder, site, 'worker');
  await startWorker(stack.folder, site);
}

describe('a worker killed with -9', () => {
  it('in the middle of a snapshot leaves none listed, and the next attempt is whole', async () => {
    const client = await clientAt('west');
    const vault = new S3Vault(settings.vault);
    const shelf = { vault, customer, site: 'west', publicKeys: settings.publicKeys };
    const blocker = new PgClient({ connectionString: urlOf('west') });
    await blocker.connect();
    await blocker.query('begin; lock table rostergroups in access exclusive mode');
    const taking = snapshotNow(client, 'west', customerSettings());
    await expect.poll(() => waitingForLocks(urlOf('west')), { timeout: 20_000 }).toBeGreaterThan(0);
    await killProcess(stack.folder, 'west', 'worker');
    await blocker.end();
    expect(await listSnapshots(shelf)).toEqual({ snapshots: [], faults: [] });
    await startWorker(stack.folder, 'west');
    const taken = await taking;
    expect(taken.counts.users).toBe(USERS / 2);
    expect((await listSnapshots(shelf)).snapshots.map((s) => s.seq)).toEqual([taken.seq]);
    vault.close();
    await client.connection.close();
  });

  it('at each phase of a failover, on a Temporal service that was empty, goes on within 15 s and ends the same', async () => {
    await protect();
    await killSite(stack.folder, 'east');
    await emptyTemporal('west');
    const client = await clientAt('west');
    const lostAt = Date.now();
    const handle = await declare(client);
    const kills: { at: string; tookMs: number }[] = [];
    const killAt = async (at: string): Promise<FailoverStatus> => {
      await replaceWorker('west');
      const started = Date.now();
      const status = await answering(client, handle);
      kills.push({ at, tookMs: Date.now() - started });
      return status;
    };
    await killAt('declared or planning');
    await reach(handle, (s) => s.phase === 'approving');
    await killAt('approving');
    await approve(handle, 'operator-1');
    await killAt('one approval');
    await approve(handle, 'operator-2');
    await killAt('moving');
    for (const act of ['restore-contacts', 'probe'] as const) {
      await reach(handle, (s) => s.steps.some((step) => step.act === act && step.state !== 'waiting'));
      await killAt(act);
      const restarted = Date.now();
      await reach(handle, (s) => s.steps.some((step) => step.act === act && step.state === 'done'));
      kills.push({ at: `${act} done`, tookMs: Date.now() - restarted });
    }
    const { report } = await handle.result();
    expect(kills.filter((k) => k.tookMs > 15_000)).toEqual([]);
    expect(report).toMatchObject({ outcome: 'closed', mismatches: 0, epoch: 2 });
    expect(report.restored?.users).toBe(USERS / 2);
    expect(report.rtoMs).toBeGreaterThan(0);
    expect(Date.now() - lostAt).toBeLessThan(150_000);
    expect(await compareWitness(urlOf('west'), 'east')).toBe(0);
    // Each effect once, whatever was repeated.
    const doubled = await sql(
      urlOf('west'),
      "select key from tandem.journal where key like 'effect/%' group by key having count(*) > 1",
    );
    expect(doubled).toEqual([]);
    expect(
      await sql(urlOf('west'), 'select count(*)::int as n from tandem.home where tandem.may_serve(username)'),
    ).toEqual([{ n: USERS }]);
    await client.connection.close();
  }, 240_000);
});

async function waitingForLocks(url: string): Promise<number> {
  const rows = await sql(
    url,
    `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
  );
  return rows.length;
}

async function protect(): Promise<void> {
  const [east, west] = await Promise.all([clientAt('east'), clientAt('west')]);
  await makeWitness(urlOf('east'), urlOf('west'), 'east');
  await snapshotNow(east, 'east', customerSettings());
  await standbyNow(west, 'west', customerSettings());
  await Promise.all([east.connection.close(), west.connection.close()]);
}

/** Temporal's databases are lost too: dropped, made anew, and prepared by nobody but the stack and the worker. */
async function emptyTemporal(site: string): Promise<void> {
  await killProcess(stack.folder, site, 'worker');
  await killProcess(stack.folder, site, 'temporal');
  const admin = stack.sites[site]?.superuserUrl ?? '';
  for (const name of ['temporal', 'temporal_visibility']) {
    await sql(admin, `drop database ${name} with (force)`);
    await sql(admin, `create database ${name} owner temporal`);
  }
  await up({ folder: stack.folder, sites: ['west'], workers: true });
}

async function declare(client: Client): Promise<FailoverHandle> {
  await startFailover(client, 'west', {
    customer,
    from: 'east',
    reason: 'every process of the site was killed',
    requestedBy: 'operator-1',
    isolation: 'its processes were killed by this test',
  });
  return failoverHandle(client, customer);
}

async function approve(handle: FailoverHandle, operator: string): Promise<void> {
  const key = await loadPrivateKey(operatorKeyPath(stack.folder, operator));
  await sendVerb(handle, signVerb(await failoverStatus(handle), { verb: 'approve', operator, key }));
}

const reach = (handle: FailoverHandle, point: (s: FailoverStatus) => boolean): Promise<FailoverStatus> =>
  followFailover(handle, () => undefined, { enough: point, everyMs: 20, signal: AbortSignal.timeout(60_000) });

/** The run's answer, as soon as the new worker gives one. A question that was handed to the dead one is asked again. */
async function answering(client: Client, handle: FailoverHandle): Promise<FailoverStatus> {
  for (const deadline = Date.now() + 40_000; ;) {
    try {
      return await client.withDeadline(Date.now() + 3000, () => failoverStatus(handle));
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
  }
}
