import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { typed, type Said } from '../rig/cli.ts';
import { CUSTOMER, openWorld, type World } from '../vault/world.ts';

interface Tree {
  sites: Record<string, { temporal: { address: string }; vault: { bucket: string; cleaner?: unknown } }>;
  customers: Record<string, { databases: Record<string, { url: unknown }> }>;
}

let folder: string;
let world: World;
/** A configuration of the world, and the same without a cleaner at west. */
let whole: string;
let without: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tandem-retention-'));
  world = await openWorld(20);
  const { configuration, customer } = inject('stack');
  const tree = parse(await readFile(configuration, 'utf8')) as Tree;
  const acme = tree.customers[customer];
  if (!acme) throw new Error('no customer');
  tree.customers = { [CUSTOMER]: acme };
  for (const site of ['east', 'west'] as const) {
    Object.assign(tree.sites[site]?.vault ?? {}, { bucket: world.access[site].bucket });
    // Nobody has prepared its namespace: it counts as silent.
    Object.assign(tree.sites[site]?.temporal ?? {}, { address: `127.0.0.1:${site === 'east' ? 9 : 10}` });
    const env = `DATABASE_${site.toUpperCase()}`;
    Object.assign(acme.databases[site] ?? {}, { url: { env }, 'peer-url': { env: `${env}_PEER` } });
  }
  whole = join(folder, 'tandem.yaml');
  without = join(folder, 'without.yaml');
  await writeFile(whole, stringify(tree));
  delete tree.sites['west']?.vault.cleaner;
  await writeFile(without, stringify(tree));
  await symlink(join(dirname(configuration), 'secrets'), join(folder, 'secrets'));
});
afterAll(async () => {
  await world.drop();
  await rm(folder, { recursive: true, force: true });
});

const tandem = (args: string[], config = whole): Promise<Said> => {
  const { east, west } = world.urls;
  const asPeer = (site: 'east' | 'west'): string =>
    Object.assign(new URL(inject('stack').sites[site]?.peerUrl ?? ''), {
      pathname: new URL(world.urls[site]).pathname,
    }).toString();
  const own = { DATABASE_EAST: east, DATABASE_WEST: west };
  const peer = { DATABASE_EAST_PEER: asPeer('east'), DATABASE_WEST_PEER: asPeer('west') };
  return typed(folder, args, { TANDEM_CONFIG: config, ...own, ...peer });
};

describe('retention', () => {
  it('is refused at a site that has no cleaner, which is told wherever it matters', async () => {
    const [run, plan, status, doctor, fit] = await Promise.all([
      tandem(['retention', 'run', '--site', 'west'], without),
      tandem(['retention', 'plan', '--site', 'west'], without),
      tandem(['status'], without),
      tandem(['doctor', '--site', 'west'], without),
      tandem(['doctor', '--site', 'west']),
    ]);
    expect(run.err).toMatch(/west: has no `vault\.cleaner`.*\nTry: /);
    expect(run.code).toBe(1);
    expect(plan.err).toContain('has no `vault.cleaner`');
    expect(plan.code).toBe(0);
    expect(status.out).toMatch(/west: .*NO CLEANER/);
    expect(status.out).not.toMatch(/east: .*NO CLEANER/);
    expect(doctor.out).toContain('there is no cleaner');
    expect(fit.out).not.toContain('cleaner');
    expect(fit.code).toBe(0);
  });

  it('is planned without a worker, and says in JSON what it says in words', async () => {
    expect((await tandem(['retention', 'plan', '--site', 'east'])).out).toContain('No snapshots yet.');
    await world.take('east');
    const [words, json] = await Promise.all([
      tandem(['retention', 'plan', '--site', 'east']),
      tandem(['--json', 'retention', 'plan', '--site', 'east']),
    ]);
    expect(words.out).toMatch(/^of site +generation +snapshots.*\neast +1 +1 +1 +\d+ +kept +no newer one/);
    expect(words.out).toMatch(/\nkept: 1 generations, 2 objects, \d+ bytes/);
    expect(JSON.parse(json.out)).toMatchObject({
      site: 'east',
      mode: 'dry-run',
      heldBy: null,
      sources: [
        { site: 'east', generations: [{ gen: 1, snapshots: 1, fate: 'kept' }] },
        { site: 'west', generations: [] },
      ],
      totals: { kept: { generations: 1, objects: 2 }, expired: { generations: 0, objects: 0, bytes: 0 } },
      unknown: 0,
    });
  });
});
