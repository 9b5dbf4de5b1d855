import { setTimeout as pause } from 'node:timers/promises';
import { killSite } from '../../../ops/embedded/control.ts';
import { sql } from '../../rig/sql.ts';
import type { Operators } from '../failover/operators.ts';
import { LOST, SURVIVOR } from '../failover/world.ts';
import { sites } from '../relocate/judge.ts';
import { lose, type Lost } from './cuts.ts';
import { PEER } from './lines.ts';
import { AT_HOME, OBEYED_MS, type Moved, type Scene, type Served } from './scene.ts';

/** Failovers of one site that is there, cut off, or comes back; and everybody home again after each. */

const ALL: Served = { [LOST]: SURVIVOR, [SURVIVOR]: SURVIVOR };
const CUT_MS = 20_000;
const CLOSED_LIMIT_MS = 120_000;
const STATED = 'its lines were cut by this walk';
const NOT_CUT_OFF = 'it is there, and its database is to close it';

/** A failover at the survivor; `serving`: of a site that is seen to serve, which those who sign accept. */
async function failover(
  scene: Scene,
  meanwhile?: (operators: Operators) => Promise<void>,
  { serving = false }: { serving?: boolean } = {},
): Promise<Moved> {
  const how = serving ? { sourceIsServing: true, isolation: NOT_CUT_OFF } : { isolation: STATED };
  const moved = await scene.move({ site: SURVIVOR, workflow: 'failover', from: LOST, ...how }, meanwhile);
  if (moved.outcome !== 'closed') throw new Error(`the failover ended ${moved.outcome}`);
  return moved;
}

/** The site that was lost has salvaged what it alone has, and is the copy of everybody. */
async function follows(scene: Scene): Promise<void> {
  await scene.world.cover(SURVIVOR, LOST);
  await scene.settled(ALL);
}

/** Whatever the other site alone has is brought home with its users; nobody's last word is lost by then. */
async function home(scene: Scene, moved: Moved): Promise<void> {
  const { world } = scene;
  const [due] = await sql<{ listed: boolean }>(
    world.urlOf(LOST),
    `select exists (select from tandem.obeyed o join tandem.epoch e using (customer, number) where e.move = '${moved.move}')
        and exists (select from tandem.salvage) as listed`,
  );
  if (!due?.listed) throw new Error(`${LOST} does not tell what it has obeyed, or what is to be salvaged`);
  const back = {
    site: SURVIVOR,
    workflow: 'relocate',
    half: LOST,
    from: SURVIVOR,
    to: LOST,
    rule: 'survivor',
  } as const;
  const { outcome } = await scene.move(back);
  if (outcome !== 'closed') throw new Error(`the way home ended ${outcome}`);
  await scene.settled(AT_HOME);
  scene.neverTwice();
  await scene.nothingLost();
  await world.cover(LOST, SURVIVOR);
  const faults = await scene.evidence(SURVIVOR, moved);
  if (faults.length > 0) throw new Error(faults.join('; '));
}

/**
 * A site that answers is closed by machine: whatever is cut in the middle, nobody is served twice. `unfenced`: its database is silent then,
 * and what was stated instead is not so, until it has read the claim elsewhere.
 */
async function fenced(scene: Scene, line: string, what: Lost, { unfenced = false } = {}): Promise<void> {
  const gate = scene.gate(SURVIVOR);
  await gate.arm(line);
  const moved = await failover(
    scene,
    async (operators) => {
      await gate.untilHeld();
      if (what === 'worker') await gate.letGo();
      const heal = await lose(scene.world, what, { here: SURVIVOR, there: LOST });
      if (what !== 'worker') await gate.letGo();
      await pause(CUT_MS);
      await heal();
      operators.retries = true;
    },
    { serving: true },
  );
  await follows(scene);
  const obeyedBy = unfenced ? (await claimedAt(scene, moved)) + OBEYED_MS : 0;
  scene.neverTwice(({ until }) => until < obeyedBy);
  await home(scene, moved);
}

/** The statement is false: it sees the witness, and is closed by what that tells. */
async function cutOff(scene: Scene): Promise<void> {
  const heal = await lose(scene.world, 'peer', { here: SURVIVOR, there: LOST });
  const moved = await failover(scene);
  const claimed = await claimedAt(scene, moved);
  await scene.settledAt(LOST, 0, CLOSED_LIMIT_MS);
  await heal();
  await follows(scene);
  scene.neverTwice(({ until }) => until < claimed + OBEYED_MS);
  await home(scene, moved);
}

/**
 * It sees nobody, and closes itself. `stated`: people say that it has when it has not. `flaps`: for a moment it sees them again, in
 * the middle.
 */
async function selfFenced(scene: Scene, { stated = false, flaps = false }): Promise<void> {
  const { world } = scene;
  const apart = async (): Promise<void> => {
    await world.lines.cut(SURVIVOR, PEER, 'dropped');
    await world.lines.cut(LOST, [...PEER, 'witness'], 'dropped');
  };
  await apart();
  if (!stated) await scene.settledAt(LOST, 0, CLOSED_LIMIT_MS);
  const gate = scene.gate(SURVIVOR);
  if (flaps) await gate.arm('effect-serve');
  const moved = await failover(scene, async (operators) => {
    operators.retries = true;
    if (!flaps) return;
    await gate.untilHeld();
    for (let n = 0; n < 2; n += 1) {
      await world.lines.heal();
      await pause(5000);
      await apart();
      await pause(5000);
    }
    await gate.letGo();
  });
  await world.lines.heal();
  await follows(scene);
  scene.neverTwice();
  await home(scene, moved);
}

/** As if its power had gone an hour ago: nobody there has said since that it lives. */
async function powerCut(scene: Scene, site: string, { hourAgo }: { hourAgo: boolean }): Promise<void> {
  const { world } = scene;
  await world.signal(site, 'worker', 'SIGSTOP');
  if (hourAgo) await sql(world.urlOf(site), `update tandem.alive set at = at - interval '1 hour'`);
  await killSite(world.stack.folder, site);
  scene.eyes.restarted(site);
}

/** It was lost, and comes back while the move is held there. */
async function returnsAmid(scene: Scene, line: string, { hourAgo }: { hourAgo: boolean }): Promise<void> {
  const { world } = scene;
  await powerCut(scene, LOST, { hourAgo });
  const gate = scene.gate(SURVIVOR);
  await gate.arm(line);
  const moved = await failover(scene, async (operators) => {
    await gate.untilHeld();
    await world.mend([LOST]);
    await gate.letGo();
    operators.retries = true;
  });
  await scene.gate(LOST).reopen();
  await follows(scene);
  scene.neverTwice();
  await home(scene, moved);
}

/** It comes back when everything is over, with its rows as they were; twice. */
async function returnsLater(scene: Scene): Promise<void> {
  const { world } = scene;
  await powerCut(scene, LOST, { hourAgo: true });
  const moved = await failover(scene);
  for (let n = 0; n < 2; n += 1) {
    await world.mendServers([LOST]);
    await pause(10_000); // Its service would serve by now, if it believed its rows.
    if (n === 0) await powerCutWithoutWorker(scene);
  }
  await world.mend([LOST]);
  await scene.gate(LOST).reopen();
  await follows(scene);
  scene.neverTwice();
  await home(scene, moved);
}

async function powerCutWithoutWorker({ world, eyes }: Scene): Promise<void> {
  await killSite(world.stack.folder, LOST);
  eyes.restarted(LOST);
}

/** All of it stands still, and goes on where it was when its users are served elsewhere: nobody had cut it off. */
async function frozen(scene: Scene): Promise<void> {
  const { world } = scene;
  const all = ['worker', 'temporal', 'vault', 'postgres'] as const;
  for (const name of all) await world.signal(LOST, name, 'SIGSTOP');
  const moved = await failover(scene);
  scene.neverTwice();
  const thawed = Date.now();
  for (const name of all.toReversed()) await world.signal(LOST, name, 'SIGCONT');
  await follows(scene);
  scene.neverTwice(({ until }) => until < thawed + OBEYED_MS);
  await home(scene, moved);
}

/** Both are without power; who comes back alone serves nobody, and both together serve as before. */
async function blackStart(scene: Scene, first: string, { served }: { served: Served }): Promise<void> {
  const { world } = scene;
  for (const site of sites) await world.signal(site, 'worker', 'SIGSTOP');
  for (const site of sites) await sql(world.urlOf(site), `update tandem.alive set at = at - interval '1 hour'`);
  for (const site of sites) await killSite(world.stack.folder, site);
  for (const site of sites) scene.eyes.restarted(site);
  await world.mend([first]);
  await pause(CUT_MS);
  const alone = (await scene.eyes.served(first)).size;
  if (alone > 0) throw new Error(`${first} serves ${alone} users, and its peer has not confirmed it`);
  await world.mend([...sites]);
  for (const site of sites) await scene.gate(site).reopen();
  await scene.settled(served);
  scene.neverTwice();
}

async function blackStartAfterFailover(scene: Scene): Promise<void> {
  const moved = await failover(scene, undefined, { serving: true });
  await follows(scene);
  await blackStart(scene, LOST, { served: ALL });
  await home(scene, moved);
}

async function claimedAt({ world }: Scene, { move }: Moved): Promise<number> {
  const [row] = await sql<{ at: Date }>(
    world.urlOf(SURVIVOR),
    `select at from tandem.journal where move = '${move}' and key like 'effect/%' and body::jsonb->>'step' = 'epoch'`,
  );
  if (!row) throw new Error('no epoch was claimed');
  return row.at.getTime();
}

/** By name, what happens. */
export const lostPoints: Record<string, (scene: Scene) => Promise<void>> = {
  'failover/before-fence/peer-database': (scene) => fenced(scene, 'effect-epoch', 'peer-database', { unfenced: true }),
  'failover/after-fence/peer': (scene) => fenced(scene, 'effect-fence', 'peer'),
  'failover/in-contacts/own-vault': (scene) => fenced(scene, 'effect-epoch', 'own-vault'),
  'failover/in-serve/worker': (scene) => fenced(scene, 'effect-serve', 'worker'),
  'failover/witness': (scene) => fenced(scene, 'effect-epoch', 'witness'),
  'failover/cut-off': cutOff,
  'failover/self-fenced': (scene) => selfFenced(scene, {}),
  'failover/self-fenced/stated': (scene) => selfFenced(scene, { stated: true }),
  'failover/self-fenced/twice': (scene) => selfFenced(scene, { flaps: true }),
  'failover/returns/before-contacts': (scene) => returnsAmid(scene, 'effect-epoch', { hourAgo: false }),
  'failover/returns/in-serve': (scene) => returnsAmid(scene, 'effect-serve', { hourAgo: false }),
  'failover/returns/an-hour-after/twice': returnsLater,
  'failover/frozen': frozen,
  'black-start/survivor-first': (scene) => blackStart(scene, SURVIVOR, { served: AT_HOME }),
  'black-start/lost-first': blackStartAfterFailover,
};
