import { createServer, type AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { closeMove } from '../../activities/journal/close.ts';
import { writeJournal } from '../../activities/journal/moves.ts';
import { claimAgain, claimsInReach } from '../../activities/services/claims.ts';
import { advanceEpoch } from '../../activities/services/epoch.ts';
import { obeyNewerEpoch } from '../../activities/services/obey.ts';
import { Watchers } from '../../activities/probes/watch/watchers.ts';
import { SiteMetrics } from '../../ops/metrics.ts';
import { watchSites } from '../../ops/watch-loop.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import type { SiteSettings, VaultAccess } from '../../activities/settings.ts';
import { claimEpoch, readClaims } from '../../activities/vault/epochs.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import type { FailoverReport, JournalEntry, StepResult } from '../../workflows/model/moves.ts';
import { blackHole, type BlackHole } from '../rig/black-holes.ts';
import { CUSTOMER, kindOf, makeWorld, startMove, step, type World } from './world.ts';

let world: World;
let hole: BlackHole;
let witness: S3Vault;
let move: string;
beforeAll(async () => {
  hole = await blackHole();
});
afterAll(() => hole.close());
beforeEach(async () => {
  world = await makeWorld();
  witness = new S3Vault(world.vaults.witness.west);
  move = await startMove(world);
  await world.eastDb.query('update tandem.serving set epoch = 0');
});
afterEach(async () => {
  witness.close();
  await world.close();
});

const at = (access: VaultAccess, port: number): VaultAccess => ({ ...access, endpoint: `http://127.0.0.1:${port}` });
const west = (site: Partial<SiteSettings> = {}): OwnSite =>
  world.westWith({ site: { witness: world.vaults.witness.west, ...site } });
const settingsOf = (site: 'east' | 'west'): SiteSettings => ({ ...world.settings, site, signingKey: world.keys[site] });
const newestIn = async (vault: S3Vault | OwnSite['vault']): Promise<unknown> =>
  (await readClaims(vault, CUSTOMER, world.settings)).newest;
const claimByEast = (number: number, access: VaultAccess = world.vaults.witness.east): Promise<unknown> => {
  const east = new S3Vault(access);
  const epoch = { number, site: 'east', move: 'theirs' };
  return claimEpoch(east, settingsOf('east'), CUSTOMER, epoch).finally(() => east.close());
};
const ownEpoch = async (): Promise<number> =>
  (await world.westDb.query<{ n: number }>('select number::int as n from tandem.epoch'))[0]?.n ?? 0;
const advance = (site: OwnSite, number = 2): Promise<StepResult> =>
  advanceEpoch(site, step('advance-epoch', move, number));

describe('advance-epoch is never stopped', () => {
  it.each<[string, 'vault' | 'witness', () => number]>([
    ['its own vault is gone', 'vault', () => 9],
    ['its own vault hangs', 'vault', () => hole.port],
    ['the witness is gone', 'witness', () => 9],
    ['the witness hangs', 'witness', () => hole.port],
  ])('when %s: it is told, and the claim is in the other', async (_, gone, port) => {
    const access = gone === 'vault' ? world.vaults.west : world.vaults.witness.west;
    const start = performance.now();
    const { facts, summary, alarms } = await advance(west({ [gone]: at(access, port()) }));
    expect(performance.now() - start).toBeLessThan(6000);
    const other = gone === 'vault' ? 'witness' : 'vault';
    expect(facts).toMatchObject({ epoch: 2, claimedIn: `database, ${other}`, notClaimedIn: gone });
    expect(summary).toContain(`not yet in ${gone}`);
    expect(alarms).toEqual([expect.stringContaining(`the ${gone} does not hold the claim of epoch 2 yet`)]);
    expect(await ownEpoch()).toBe(2);
    expect(await newestIn(other === 'vault' ? world.west.vault : witness)).toEqual({ number: 2, site: 'west', move });
  });

  it('when both hang', async () => {
    const both = west({ vault: at(world.vaults.west, hole.port), witness: at(world.vaults.witness.west, hole.port) });
    expect((await advance(both)).facts).toMatchObject({ claimedIn: 'database', notClaimedIn: 'vault, witness' });
  });
});

describe('advance-epoch never goes on', () => {
  it('when the witness holds a higher claim, or the same number of another move', async () => {
    await claimByEast(2);
    expect(await kindOf(advance(west()))).toBe('epoch-taken');
    await claimByEast(5);
    expect(await kindOf(advance(west()))).toBe('epoch-superseded');
    expect(await ownEpoch()).toBe(1);
  });

  it('when its own vault holds a higher claim, although its database knows of none', async () => {
    await claimEpoch(world.west.vault, world.settings, CUSTOMER, { number: 5, site: 'west', move: 'later' });
    expect(await kindOf(advance(west()))).toBe('epoch-superseded');
    expect(await ownEpoch()).toBe(1);
  });

  it.each<[string, () => Promise<unknown>]>([
    ['the witness', () => claimByEast(2)],
    ['the vault of the peer', () => claimByEast(2, world.vaults.east)],
    [
      'the database of the peer',
      () => world.eastDb.query("update tandem.epoch set number = 2, site = 'east', move = 'theirs'"),
    ],
  ])('serving what its database, put back to a backup, still calls its own: %s knows better', async (_, claimed) => {
    await claimed();
    expect((await advance(west(), 3)).facts).toMatchObject({ epoch: 3, before: 1, keptOpen: 0 });
    expect(await world.westDb.query("select tandem.may_serve('w1') as yes")).toEqual([{ yes: false }]);
  });

  it('twice for one number, of moves at once from both sites', async () => {
    await world.westDb.query("update tandem.move set ended_at = now(), phase = 'aborted'");
    const site = west();
    const moves = ['a', 'b', 'c', 'd', 'e', 'f'];
    for (const id of moves) {
      await world.westDb.query(
        "insert into tandem.move (move, customer, kind, workflow_id, phase, input, started_at, ended_at) values ($1, $2, 'failover', 'w', 'x', '{}', now(), now())",
        [id, CUSTOMER],
      );
    }
    const kinds = await Promise.all([
      ...moves.map((id) => kindOf(advanceEpoch(site, step('advance-epoch', id, 2)))),
      claimByEast(2).then((against) => (against === null ? 'no failure' : 'epoch-taken')),
    ]);
    expect(kinds.filter((k) => k === 'no failure')).toHaveLength(1);
  });
});

describe('a claim that is missing', () => {
  it('is written when its store answers, with the lines of the journal, and not asked for each of them', async () => {
    const gone = west({ witness: at(world.vaults.witness.west, 9) });
    await advance(gone);
    const line = (key: string): JournalEntry => ({
      customer: CUSTOMER,
      move,
      key,
      kind: 'note',
      at: new Date().toISOString(),
      body: {},
    });
    const site = west();
    await writeJournal(site, [line('soon')]);
    expect(await newestIn(witness)).toBeNull();
    await world.westDb.query("update tandem.claim set at = now() - interval '31 s'");
    await writeJournal(site, [line('later')]);
    expect(await newestIn(witness)).toEqual({ number: 2, site: 'west', move });
  });

  it('is never written over a newer one, and the report says what stands there', async () => {
    await advance(west({ witness: at(world.vaults.witness.west, 9) }));
    await claimByEast(3);
    await claimAgain(west(), { customer: CUSTOMER, move }, { afterMs: 0 });
    expect(await newestIn(witness)).toMatchObject({ number: 3 });
    const report = { format: 1, customer: CUSTOMER, move, outcome: 'closed', endedAt: new Date().toISOString() };
    const { report: closed } = await closeMove(west(), report as unknown as FailoverReport);
    expect(closed.claims).toEqual([
      { store: 'vault', claimed: true, because: null },
      { store: 'witness', claimed: false, because: 'epoch 3 of move theirs of east stands there' },
    ]);
  });

  it('does not keep a move from closing while the witness hangs', async () => {
    const hanging = west({ witness: at(world.vaults.witness.west, hole.port) });
    await advance(hanging);
    const start = performance.now();
    const report = { format: 1, customer: CUSTOMER, move, outcome: 'closed', endedAt: new Date().toISOString() };
    const { report: closed } = await closeMove(hanging, report as unknown as FailoverReport);
    expect(performance.now() - start).toBeLessThan(5000);
    expect(closed.claims).toMatchObject([
      { store: 'vault', claimed: true },
      { store: 'witness', claimed: false },
    ]);
  });
});

describe('a site that starts', () => {
  it('obeys a newer claim of its peer that only the witness can tell, and never one of its own', async () => {
    const site = west({ peerVaults: new Map() });
    await claimEpoch(witness, world.settings, CUSTOMER, { number: 2, site: 'west', move });
    expect(await obeyNewerEpoch(site.settings, CUSTOMER, world.westDb)).toBeNull();
    expect(await ownEpoch()).toBe(1); // An attempt of its own died between the witness and the database: the next one goes on.
    await claimByEast(3);
    expect(await obeyNewerEpoch(site.settings, CUSTOMER, world.westDb)).toMatchObject({ number: 3, site: 'east' });
    expect(await ownEpoch()).toBe(3);
  });

  it('starts although the witness hangs', async () => {
    const { settings } = west({ peerVaults: new Map(), witness: at(world.vaults.witness.west, hole.port) });
    const start = performance.now();
    expect(await obeyNewerEpoch(settings, CUSTOMER, world.westDb)).toBeNull();
    expect(performance.now() - start).toBeLessThan(5000);
  });
});

it('a site whose worker was never gone obeys a claim that comes while it runs', async () => {
  const said: string[] = [];
  const stop = new AbortController();
  const { settings } = west({ peerVaults: new Map() });
  const of = { settings, metrics: new SiteMetrics(), watchers: new Watchers() };
  const going = watchSites({ ...of, signal: stop.signal, everyMs: 500, say: (line) => said.push(line) });
  try {
    await claimByEast(3);
    await expect.poll(ownEpoch, { timeout: 15_000, interval: 200 }).toBe(3);
    expect(said).toEqual([`${CUSTOMER}: east has claimed epoch 3; this site is closed`]);
  } finally {
    stop.abort();
    await going;
  }
}, 25_000);

it('claims are read in every store that answers, and the others are named', async () => {
  const deaf = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => deaf.once('listening', resolve));
  const port = (deaf.address() as AddressInfo).port;
  const { claims, silent } = await claimsInReach(west({ vault: at(world.vaults.west, port) }), CUSTOMER);
  deaf.close();
  expect([claims.length, Object.keys(silent)]).toEqual([1, ['vault']]);
});
