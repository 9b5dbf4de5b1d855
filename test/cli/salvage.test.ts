import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { typed, type Said } from '../rig/cli.ts';
import { openWorld, type World } from '../vault/world.ts';
import { openKeyFolder, type KeyFolder } from './ring.ts';

/** East is back: west serves under epoch 2. */
let world: World;
let at: KeyFolder;
let file: string;

beforeAll(async () => {
  world = await openWorld(20);
  at = await openKeyFolder(world);
  await world.take('east');
  file = await at.configure({ k1: { file: 'k1' } }, 'k1', (tree) =>
    Object.assign(tree.customers['acme'] ?? {}, {
      databases: Object.fromEntries(
        ['east', 'west'].map((s) => [
          s,
          { url: { env: `URL_${s.toUpperCase()}` }, 'peer-url': { env: `URL_${s.toUpperCase()}` } },
        ]),
      ),
    }),
  );
});
afterAll(async () => {
  await world.drop();
  await at.drop();
});

const salvage = (site: string, ...args: string[]): Promise<Said> =>
  typed(at.folder, ['site', 'salvage', '--site', site, ...args], {
    TANDEM_CONFIG: file,
    URL_EAST: world.urls.east,
    URL_WEST: world.urls.west,
  });

describe('site salvage', () => {
  it('writes nothing at a site that serves, nor in a dry run', async () => {
    expect(await salvage('east')).toMatchObject({ code: 0 });
    await world.sql('east', "update tandem.epoch set number = 2, site = 'west', move = 'm'");
    const dry = await salvage('east', '--dry-run');
    expect(dry.out).toContain('east, served here under epoch 1: to be salvaged.');
    expect(dry.out).toContain('Next: tandem site salvage --site east');
    expect(await world.sql('east', 'select from tandem.salvage')).toHaveLength(0);
  });

  it('salvages with numbers and no names, and says later that it was done', async () => {
    const done = await salvage('east');
    expect(done).toMatchObject({ code: 0 });
    expect(done.out).toMatch(/east, served here under epoch 1: salvaged as of .*, 10 users, \d+ contacts/);
    const again = await salvage('east');
    expect(again.out).toContain('kept until the way home releases it');
    expect(again.out).toContain('east has nothing that is to be salvaged.');
    const told = JSON.parse((await salvage('east', '--json')).out) as { before: unknown[]; done: unknown[] };
    expect(told).toMatchObject({ before: [{ half: 'east', epoch: 1, released: false }], done: [] });
  });

  it('refuses a site that it does not know', async () => {
    expect(await salvage('north')).toMatchObject({ code: 1 });
  });
});
