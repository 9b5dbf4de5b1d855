import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { applyStandby } from '../../activities/contacts/standby.ts';
import { typed, type Said } from '../rig/cli.ts';
import { openWorld, quiet, type World } from '../vault/world.ts';
import { openKeyFolder, type KeyFolder } from './ring.ts';

/** West holds one user of east, whose block list the service could not read. */
let world: World;
let at: KeyFolder;
let file: string;
let user: string;

beforeAll(async () => {
  world = await openWorld(40);
  at = await openKeyFolder(world);
  const [row] = await world.sql(
    'east',
    `select min(username collate "C") as name from tandem.home where site = 'east'`,
  );
  user = String(row?.['name']);
  await world.sql('east', `insert into privacy_list (username, name) values ($1, 'odd')`, [user]);
  await world.sql(
    'east',
    `insert into privacy_list_data select id, 's', 'friends', 'd', 1, true, false, false, false, false
       from privacy_list where username = $1 and name = 'odd'`,
    [user],
  );
  const snapshot = await world.open('east', await world.take('east'));
  await applyStandby({ database: world.databases.west, site: 'west', snapshot, keys: world.keys, ...quiet });
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

const quarantine = (...args: string[]): Promise<Said> =>
  typed(at.folder, ['quarantine', ...args], {
    TANDEM_CONFIG: file,
    URL_EAST: world.urls.east,
    URL_WEST: world.urls.west,
  });
const key = (): string => join(dirname(inject('stack').configuration), 'secrets', 'operator-1.pem');
const release = (...who: string[]): Promise<Said> =>
  quarantine(
    'release',
    '--site',
    'west',
    '--user',
    ...who,
    '--operator',
    'operator-1',
    '--key',
    key(),
    '--because',
    'asked him',
  );

describe('quarantine', () => {
  it('releases nobody who is not in it', async () => {
    const said = await release(user, 'nobody');
    expect(said).toMatchObject({ code: 1, out: '' });
    expect(said.err).toContain('user "nobody": not in quarantine');
    expect((await quarantine('show', '--site', 'east', '--user', user)).err).toContain('not in quarantine');
  });

  it('tells who is held and why, item by item, and lets him in when an operator signs', async () => {
    const listed = await quarantine('list', '--site', 'west');
    expect(listed).toMatchObject({ code: 3 });
    expect(listed.out).toContain(user);
    expect(listed.out).toMatch(/HELD +item 1: its subscription is none of/);
    const shown = await quarantine('show', '--site', 'west', '--user', user);
    expect(shown.out).toMatch(/odd +s +friends +d +1 +its subscription is none of/);
    expect(await release(user)).toMatchObject({ code: 0, out: expect.stringContaining('1 users') as string });
    expect(await quarantine('list', '--site', 'west')).toMatchObject({
      code: 0,
      out: expect.stringContaining('let in by operator-1: asked him') as string,
    });
    expect((await release(user)).err).toContain('was let in by operator-1');
    expect((await quarantine('list', '--site', 'east')).out).toBe('Nobody is in quarantine at east.\n');
  });
});
