import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { followDirectory } from '../../activities/directory/follow.ts';
import { anchorOperators } from '../../activities/services/operators.ts';
import { readConfiguration } from '../../ops/config/configuration.ts';
import { typed, type Said } from '../rig/cli.ts';
import { openWorld, type World } from '../vault/world.ts';
import { openKeyFolder, type KeyFolder } from './ring.ts';

/** West follows a directory that has lost half of its users over night. */
let world: World;
let at: KeyFolder;
let file: string;

beforeAll(async () => {
  world = await openWorld(40);
  at = await openKeyFolder(world);
  file = await at.configure({ k1: { file: 'k1' } }, 'k1', (tree) =>
    Object.assign(tree.customers['acme'] ?? {}, {
      directory: { table: {} },
      databases: Object.fromEntries(
        ['east', 'west'].map((s) => [
          s,
          { url: { env: `URL_${s.toUpperCase()}` }, 'peer-url': { env: `URL_${s.toUpperCase()}` } },
        ]),
      ),
    }),
  );
  await anchorOperators(world.databases.west, (await readConfiguration(file)).operators);
  await world.sql('west', 'insert into tandem.directory (username) select username from tandem.home');
});
afterAll(async () => {
  await world.drop();
  await at.drop();
});

const follow = (): Promise<unknown> =>
  followDirectory({
    site: 'west',
    customer: { id: 'acme', sites: ['east', 'west'], databaseUrl: world.urls.west },
    settings: { source: { kind: 'table' }, everyMs: 300_000, removalsShare: 0.02 },
    signal: new AbortController().signal,
  });
const directory = (...args: string[]): Promise<Said> =>
  typed(at.folder, ['directory', ...args, '--site', 'west'], {
    TANDEM_CONFIG: file,
    URL_EAST: world.urls.east,
    URL_WEST: world.urls.west,
  });
const key = (): string => join(dirname(inject('stack').configuration), 'secrets', 'operator-1.pem');
const accept = (...more: string[]): Promise<Said> =>
  directory('accept', '--operator', 'operator-1', '--key', key(), '--because', 'Oslo has closed', ...more);

describe('directory', () => {
  it('shows that nobody was ever asked, and accepts nothing where nothing is held', async () => {
    expect(await directory('show')).toMatchObject({
      code: 0,
      out: expect.stringMatching(/was never believed/) as string,
    });
    expect(await accept()).toMatchObject({ code: 1, out: '' });
    await follow();
    const shown = await directory('show');
    expect(shown.code).toBe(0);
    expect(shown.out).toMatch(/last good answer is \d.*old: 40 users entitled, 0 disabled/);
    expect(shown.out).toMatch(/Digest of names, homes and keys: [0-9a-f]{64}/);
  });

  it('is checked without a change, and tells what would come of it or why there is no answer', async () => {
    const before = await directory('show', '--json');
    await world.sql('west', "insert into tandem.directory (username) values ('new'), ('not a name')");
    const told = await directory('check');
    expect(told).toMatchObject({ code: 0 });
    expect(told.out).toBe(
      'It answers: 41 users are entitled. 1 would be enabled, 0 disabled, 1 given a home, 0 accounts made or given other keys.\n' +
        '  1 entitled without keys and without an account: they cannot sign in\n  1 entries with a name that the service cannot have\n' +
        'Nothing to compare with east: one of the two goes by no answer yet.\n',
    );
    await world.sql(
      'west',
      'delete from tandem.directory where username in (select username from tandem.directory limit 20)',
    );
    expect(await directory('check')).toMatchObject({
      code: 3,
      out: expect.stringMatching(/would be held: it would disable/) as string,
    });
    await world.sql('west', 'alter table tandem.directory rename to hidden');
    const away = await directory('check');
    expect([away.code, away.err]).toEqual([
      1,
      expect.stringMatching(/Error: table tandem\.directory.*\nTry: Look at the directory/),
    ]);
    await world.sql('west', 'alter table tandem.hidden rename to directory');
    expect(JSON.parse((await directory('show', '--json')).out)).toEqual(JSON.parse(before.out));
    await world.sql('west', 'delete from tandem.directory');
    await world.sql('west', 'insert into tandem.directory (username) select username from tandem.home');
  });

  it('shows what is held, and lets it pass for the digest that the operator saw, and for no other', async () => {
    await world.sql(
      'west',
      'delete from tandem.directory where username in (select username from tandem.directory limit 20)',
    );
    await follow();
    const shown = await directory('show');
    expect(shown.code).toBe(3);
    expect(shown.out).toMatch(
      /a later one is held: it would disable 20 of 40 users, 3 are allowed without an operator/,
    );
    const [, digest = ''] = /--digest ([0-9a-f]{64})/.exec(shown.out) ?? [];
    const other = await accept('--digest', '0'.repeat(64));
    expect(other).toMatchObject({ code: 1, out: '' });
    expect(other.err).toMatch(/another answer is held by now/);
    const done = await accept('--digest', digest);
    expect(done.code).toBe(0);
    expect(done.out).toMatch(/Accepted by operator-1: 20 users are disabled at west by the next answer/);
    expect(done.err).toMatch(/The follower looks with its next turn|was told to look now/);
    expect(await follow()).toMatchObject({ state: 'applied', counts: { disabled: 20 } });
    const after = await directory('show', '--json');
    expect(JSON.parse(after.out)).toMatchObject({
      site: 'west',
      customer: 'acme',
      state: { users: 20, disabled: 20, held: null },
    });
  });
});
