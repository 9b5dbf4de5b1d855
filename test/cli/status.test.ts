import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkKey } from '../../activities/vault/checks.ts';
import { seal } from '../../activities/vault/signed.ts';
import type { Check, Damage } from '../../workflows/model/checks.ts';
import { typed, type Said } from '../rig/cli.ts';
import { CUSTOMER, openWorld, type World } from '../vault/world.ts';
import { openKeyFolder, type KeyFolder, type Tree } from './ring.ts';

let world: World;
let keys: KeyFolder;
let file: string;
beforeAll(async () => {
  world = await openWorld(10);
  keys = await openKeyFolder(world);
  file = await keys.configure({ k1: { file: 'k1' } }, 'k1', withoutTemporal);
});
afterAll(async () => {
  await keys.drop();
  await world.drop();
});

/** Nobody listens there: what is asked is the vaults. */
function withoutTemporal(tree: Tree): void {
  for (const [i, site] of Object.values(tree.sites).entries())
    Object.assign(site, { temporal: { address: `127.0.0.1:${i + 1}`, namespace: 'none', ui: 'http://127.0.0.1:1' } });
}

const status = (): Promise<Said> => typed(keys.folder, ['status'], { TANDEM_CONFIG: file });

/** What west says of east's snapshots in its vault. */
async function check(hoursAgo: number, damaged: Damage[] = [], versions = 0): Promise<void> {
  const endedAt = new Date(Date.now() - hoursAgo * 3_600_000).toISOString();
  const said = { snapshots: 1, counted: 1, packs: 1, bytes: 1, damaged, repaired: [] };
  const strays = { versions, markers: 0, unknown: 0, keys: versions > 0 ? ['acme/east/written-over'] : [] };
  const times = { startedAt: endedAt, endedAt };
  const of: Check = { format: 1, customer: CUSTOMER, site: 'west', of: 'east', ...times, ...said, strays };
  await world.vaults.west.put(checkKey(of), seal('check', 'west', world.signingKeys.west, of));
}

describe('status', () => {
  it('says when a vault was not opened for longer than a day, what lies astray in it, and what is damaged', async () => {
    await check(30);
    const old = (await status()).out;
    expect(old).toMatch(/CHECK: .*east in the vault of west were last opened 30 h 00 min ago, limit 26 h 00 min/);
    expect(old).not.toMatch(/STRAYS|DAMAGED/);
    await check(24.5, [], 2);
    const astray = await status();
    expect(astray.err).toBe('');
    expect(astray.out).toMatch(
      /STRAYS .*east in the vault of west: 2 versions over a key, .*: acme\/east\/written-over/,
    );
    expect(astray.out).not.toMatch(/CHECK|DAMAGED/);
    await check(1, [{ object: 'pack', key: 'k', gen: 1, seqs: [1], because: 'its bytes are others' }]);
    const { out, code } = await status();
    expect(out).toMatch(/DAMAGED: 1 objects of the snapshots of the users of east in the vault of west: its bytes are/);
    expect(out).toMatch(/Next: tandem snapshot list --site west/);
    expect(code).toBe(3);
    await world.take('east');
    await world.pull('west');
    const listed = await typed(keys.folder, ['snapshot', 'list', '--site', 'west'], { TANDEM_CONFIG: file });
    expect(listed.out).toMatch(/east +1 .* DAMAGED\n/);
    expect(listed.out).toMatch(/pack k is damaged: its bytes are others/);
  });

  it('calls nobody away when all users of a half have another home, and says so of the first who is of it again', async () => {
    const config = await keys.configure({ k1: { file: 'k1' } }, 'k1', (tree) => {
      withoutTemporal(tree);
      Object.assign(tree.customers[CUSTOMER] ?? {}, {
        databases: Object.fromEntries(
          (['east', 'west'] as const).map((site) => [
            site,
            { url: { env: `URL_${site.toUpperCase()}` }, 'peer-url': { env: `URL_${site.toUpperCase()}` } },
          ]),
        ),
      });
    });
    const environment = { TANDEM_CONFIG: config, URL_EAST: world.urls.east, URL_WEST: world.urls.west };
    const at = (sql: string) => Promise.all((['east', 'west'] as const).map((site) => world.sql(site, sql)));
    const rows = async () =>
      [...(await typed(keys.folder, ['status'], environment)).out.matchAll(/^acme +(\S+) +(east|west) /gm)].map(
        ([, half, site]) => `${half} at ${site}`,
      );
    expect(await rows()).toEqual(['east at east', 'west at west']);
    await at(`update tandem.serving set site = 'east' where half = 'west'; delete from tandem.salvage`);
    expect(await rows()).toEqual(['east at east', 'west at east']);
    await at(`insert into tandem.rehomed select username, 'east', 7, 'a move', now() from tandem.home where site = 'west';
              update tandem.home set site = 'east'`);
    expect(await rows()).toEqual(['east at east']);
    await at("insert into tandem.home values ('newcomer', 'west')");
    expect(await rows()).toEqual(['east at east', 'west at east']);

    const back = (epoch: string): Promise<Said> =>
      typed(keys.folder, ['cohort', 'set', 'back', '--site', 'east', '--rehomed', epoch], environment);
    expect((await back('6')).err).toMatch(/no user of east has his home by the move of epoch 6/);
    expect((await back('soon')).err).toMatch(/the number of an epoch is expected/);
    const { out, err } = await back('7');
    expect(err).toBe('');
    expect(out).toMatch(/^east\/back: 5 users, at east and west\. They are served as before\./);
  });
});
