import { generateKeyPairSync, sign } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import { anchorOperators } from '../../activities/services/operators.ts';
import { readConfiguration } from '../../ops/config/configuration.ts';
import { typed, type Said } from '../rig/cli.ts';
import { sql } from '../rig/sql.ts';
import { openWorld, type World } from '../vault/world.ts';
import { openKeyFolder, type KeyFolder } from './ring.ts';

/** What an operator types to open a site that closed itself. */

let world: World;
let at: KeyFolder;
let file: string;
beforeAll(async () => {
  world = await openWorld(20);
  at = await openKeyFolder(world);
  file = await at.configure({ k1: { file: 'k1' } }, 'k1', (tree) =>
    Object.assign(tree.customers['acme'] ?? {}, {
      databases: Object.fromEntries(
        ['EAST', 'WEST'].map((s) => [s.toLowerCase(), { url: { env: `URL_${s}` }, 'peer-url': { env: `PEER_${s}` } }]),
      ),
    }),
  );
  await anchorOperators(world.databases.west, (await readConfiguration(file)).operators);
  await writeFile(
    join(at.folder, 'stranger.pem'),
    generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' }),
    { mode: 0o600 },
  );
});
afterAll(async () => {
  await world.drop();
  await at.drop();
});
beforeEach(async () => {
  await sql(world.urls.west, `delete from tandem.closed`);
  await sql(
    world.urls.west,
    `insert into tandem.closed (customer, kind, because, waits_for, tried_at)
     values ('acme', 'was-down', 'it was away', 'its peer does not answer', now())`,
  );
});

/** `east`: the peer's database; by default nobody is there. */
const site = (verb: string, args: string[] = [], east = 'postgres://nobody@127.0.0.1:9/x'): Promise<Said> =>
  typed(at.folder, ['site', verb, '--site', 'west', ...args], {
    TANDEM_CONFIG: file,
    URL_EAST: world.urls.east,
    URL_WEST: world.urls.west,
    PEER_EAST: east,
    PEER_WEST: world.urls.west,
  });
const key = (who: string): string => join(dirname(inject('stack').configuration), 'secrets', `${who}.pem`);
const by = (who: string, pem = key(who)): string[] => ['--operator', who, '--key', pem, '--because', 'east is gone'];
const closed = async (): Promise<unknown[]> => await sql(world.urls.west, 'select kind from tandem.closed');

describe('tandem site', () => {
  it('opens nothing without a reason, with one signature, or with a stranger’s', async () => {
    expect(await site('open', ['--operator', 'operator-1', '--key', key('operator-1')])).toMatchObject({
      code: 2,
      err: expect.stringContaining('lacks --because TEXT') as string,
    });
    const strange = await site('open', by('operator-1', join(at.folder, 'stranger.pem')));
    expect(strange).toMatchObject({ code: 1, out: '' });
    expect(strange.err).toMatch(/^Error: open west for acme: the signature does not hold .*\nTry: /);
    const one = await site('open', by('operator-1'));
    expect(one).toMatchObject({ code: 3, err: '' });
    expect(one.out).toContain('Signed by operator-1; west stays closed to acme: it takes two operators');
    expect(one.out).toMatch(
      /Next: tandem site open --site west --customer acme --operator ID --key FILE --because "…"\n$/,
    );
    expect(await closed()).toHaveLength(1);
  });

  it('opens with two, and tells who, when and why', async () => {
    const before = await site('status');
    expect(before).toMatchObject({ code: 3 });
    expect(before.out).toMatch(/CLOSED: west serves nobody of acme since .*: was-down, it was away; not opened at .*/);
    await site('open', by('operator-1'));
    expect((await site('status')).out).toContain('Signed to open it: operator-1.');
    const two = await site('open', by('operator-2'));
    expect(two).toMatchObject({ code: 0, err: '' });
    expect(two.out).toBe('Opened by operator-1 and operator-2: west serves acme again.\nNext: tandem status\n');
    expect(await closed()).toEqual([]);
    const after = await site('status');
    expect(after).toMatchObject({ code: 0 });
    expect(after.out).toMatch(/west is open.*\nLast closed at .* by operator-1 and operator-2: east is gone/);
    expect((await site('open', by('operator-1'))).err).toMatch(/west: is not closed to acme/);
  });

  it('opens nothing while the peer serves its users, or after a fork', async () => {
    await sql(world.urls.east, `update tandem.serving set site = 'east' where half = 'west'`);
    try {
      const said = await site('open', by('operator-1'), world.urls.east);
      expect(said).toMatchObject({ code: 1, out: '' });
      expect(said.err).toMatch(/^Error: west: stays closed to acme: the peer answers and says that west is east's/);
    } finally {
      await sql(world.urls.east, `update tandem.serving set site = 'west' where half = 'west'`);
    }
    await sql(world.urls.west, `update tandem.closed set kind = 'fork'`);
    expect((await site('open', by('operator-1'))).err).toMatch(/the line that stands is picked first\nTry: /);
    expect(await closed()).toHaveLength(1);
  });

  it('picks the line of a fork by two, and by none where none stands', async () => {
    const pick = (who: string): Promise<Said> => site('pick', ['--line', 'east', ...by(who)]);
    expect((await pick('operator-1')).err).toContain('no fork of acme stands there');
    await sql(
      world.urls.west,
      `insert into tandem.fork (customer, number, here_site, here_move, there_site, there_move, store)
       select customer, number, 'west', 'w', 'east', 'e', 'witness' from tandem.epoch`,
    );
    const [first, status] = [await pick('operator-1'), await site('status')];
    expect([first.code, first.out]).toEqual([3, expect.stringContaining('Signed for the line of east by operator-1')]);
    expect(status.out).toMatch(/FORK, seen at west .* move w of west, and by move e of east/);
    const second = await pick('operator-2');
    expect([second.code, second.out]).toEqual([0, expect.stringContaining('Picked by operator-1 and operator-2')]);
    await sql(world.urls.west, 'delete from tandem.fork');
  });

  it('takes a word that was signed elsewhere, and closes by one', async () => {
    await sql(world.urls.west, `delete from tandem.closed`);
    const paper = join(at.folder, 'word');
    const printed = await site('close', ['--operator', 'operator-2', '--because', 'its disk lies', '--print', paper]);
    expect(printed.out).toMatch(/^tandem\/1 site close\ncustomer: acme\nsite: west\n/);
    // Where the key is, with whatever signs there.
    const text = await readFile(paper);
    await writeFile(`${paper}.sig`, sign(null, text, await readFile(key('operator-2'))).toString('hex'));
    const said = await site('close', ['--signed', paper]);
    expect(said.out).toMatch(/^Closed by operator-2: west serves nobody of acme\.\nNext: tandem site open /);
    expect(await closed()).toEqual([{ kind: 'operator' }]);
    expect((await site('close', ['--signed', paper])).err).toMatch(/is closed to acme already/);
  });
});
