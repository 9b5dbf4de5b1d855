import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listSnapshots } from '../../activities/vault/catalog.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { readConfiguration } from '../../ops/config/configuration.ts';
import { settingsFor } from '../../ops/config/settings.ts';
import { snapshotNow } from '../../ops/snapshots.ts';
import { points } from '../rig/form.ts';
import { sql } from '../rig/sql.ts';
import { RunbookWalk, nameOf, type Point } from '../walk/failover/walk.ts';
import { SURVIVOR, World } from '../walk/failover/world.ts';
import { plannedPoint, walkPlannedPoint } from '../walk/partitions/planned.ts';
import { Scene } from '../walk/partitions/scene.ts';
import { nameOf as plannedName, PlannedWalk, type Point as PlannedPoint, type Way } from '../walk/relocate/walk.ts';

/** Real processes of a stack of its own: ended with -9, frozen, or kept from seeing each other. */

let world: World;
beforeAll(async () => {
  world = await World.open({ users: 200, service: false, lines: true });
});
afterAll(() => world?.close());

/** Of `npm run walk -- --only relocate,failback`, before one of both sites is lost for good: each a way there or back. */
const onTheWay = points<{ way: Way; at: PlannedPoint[] }>(
  // The point of no return has passed, and nobody was told; what was archived was brought, and nobody had noted it.
  [
    {
      way: 'relocate',
      at: [
        { line: 'effect-serve', accident: 'worker', moment: 'after' },
        { line: 'effect-archive', accident: 'worker', moment: 'before' },
      ],
    },
  ],
  // They are the destination's, which is killed while it is told.
  [{ way: 'failback', at: [{ told: 'destination-given', loss: 'destination-postgres', moment: 'before' }] }],
);

describe('a planned move', () => {
  let planned: PlannedWalk;
  let users: number;
  beforeAll(async () => {
    planned = await PlannedWalk.open(world);
    const [row] = await sql<{ n: number }>(world.url, `select count(*)::int as n from tandem.home where site = 'west'`);
    users = row?.n ?? 0;
  });
  afterAll(() => planned?.close());

  it.each(onTheWay.map(({ way, at }) => [way, at.map(plannedName).join(' and '), at] as const))(
    '%s: %s: loses nothing, serves nobody twice, and ends with each effect once',
    async (way, name, at) => {
      const home = way === 'failback';
      const own = home ? ['merged'] : [];
      const steps = [
        'archive',
        'contacts',
        'copy',
        'drain',
        'epoch',
        'last',
        'parity',
        'partners',
        'salvage',
        'serve',
        ...own,
      ].map((id) => `${id}/0`);
      const rights = ['east at east', `west at ${home ? 'west' : 'east'}`];
      const side = { rights, drained: 0, due: 0 };
      const sides = { east: { ...side, serves: home ? 0 : users }, west: { ...side, serves: home ? users : 0 } };
      const whole = { outcome: 'closed', oneEpoch: true, differences: 0, evidence: [] };
      await planned.try(way, { ...whole, sides, effects: steps.toSorted() }, ...at).catch((cause: unknown) => {
        throw new Error(`npm run walk -- --only ${way}, ${name}: ${String(cause)}`, { cause });
      });
    },
    300_000,
  );
});

/** Of `npm run walk -- --only partitions`. */
const parted = [
  ...points([], ['relocate/after-serve/peer/refused']),
  // The last: who comes after it finds everybody at home.
  'failback/in-last/destination-worker/frozen',
];

describe('two sites that part while users are moved', () => {
  let scene: Scene;
  beforeAll(async () => {
    scene = await Scene.open(world);
  });
  afterAll(() => scene?.close());

  it.each(parted)(
    '%s: never serve one user twice, lose no word of anybody, and agree when they see each other again',
    async (name) => {
      const point = plannedPoint(name);
      if (!point) throw new Error(`no such point: ${name}`);
      await walkPlannedPoint(scene, point, 5000).catch((cause: unknown) => {
        throw new Error(`npm run walk -- --point partitions/${name}: ${String(cause)}`, { cause });
      });
    },
    300_000,
  );
});

/**
 * Of `npm run walk -- --only failover`, which lets each befall a move of its own: the signature that nobody was told of, on an
 * empty Temporal service; the data; and the point of no return.
 */
const sample: Point[] = [
  { line: 'signed-operator-2', accident: 'databases', moment: 'after' },
  { line: 'effect-contacts', accident: 'worker', moment: 'before' },
  { line: 'effect-serve', accident: 'temporal', moment: 'after' },
];

describe('the shipped runbook', () => {
  let walk: RunbookWalk;
  beforeAll(async () => {
    walk = await RunbookWalk.open(world);
  });
  afterAll(() => walk?.close());

  it(`${sample.map(nameOf).join(', ')}: moves everybody, with each effect once`, async () => {
    const effects = ['archive', 'contacts', 'epoch', 'fence', 'parity', 'partners', 'serve', 'verify'];
    const whole = { outcome: 'closed', differences: 0, served: true, misleading: [], evidence: [] };
    await walk.try({ ...whole, effects: effects.map((step) => `${step}/0`) }, ...sample).catch((cause: unknown) => {
      throw new Error(`npm run walk -- --only failover: ${String(cause)}`, { cause });
    });
  }, 300_000);
});

describe('a worker killed with -9', () => {
  it('in the middle of a snapshot leaves none listed, and the next attempt is whole', async () => {
    const { configuration } = world.stack;
    const settings = await settingsFor(await readConfiguration(configuration), SURVIVOR, { reportsFolder: '' });
    const own = settings.customers.get(world.customer);
    if (!own) throw new Error('no customer');
    const vault = new S3Vault(settings.vault);
    const listed = async (): Promise<number[]> => {
      const shelf = { vault, customer: own.id, site: SURVIVOR, publicKeys: settings.publicKeys };
      const { snapshots, faults } = await listSnapshots(shelf);
      expect(faults).toEqual([]);
      return snapshots.map(({ seq }) => seq);
    };
    const client = await world.client();
    const blocker = new Client({ connectionString: world.url });
    await blocker.connect();
    await blocker.query('begin; lock table rostergroups in access exclusive mode');
    const before = await listed();
    const taking = snapshotNow(client, SURVIVOR, own);
    const waiting = 'select from pg_stat_activity where datname = current_database() and wait_event_type = $$Lock$$';
    await expect.poll(async () => (await sql(world.url, waiting)).length).toBeGreaterThan(0);
    await world.kill(SURVIVOR, 'worker');
    await blocker.end();
    expect(await listed()).toEqual(before);
    await world.mend();
    const taken = await taking;
    expect(await listed()).toEqual([taken.seq, ...before]);
    const [{ n: all } = { n: 0 }] = await sql<{ n: number }>(world.url, 'select count(*)::int as n from tandem.home');
    expect(taken.counts.users).toBe(all); // It serves both halves by now.
    vault.close();
    await client.connection.close();
  });
});
