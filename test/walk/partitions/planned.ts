import { setTimeout as pause } from 'node:timers/promises';
import { sql } from '../../rig/sql.ts';
import type { Manner } from '../../rig/line.ts';
import type { Operators } from '../failover/operators.ts';
import { LOST, SURVIVOR } from '../failover/world.ts';
import { lose, losses, type Lost } from './cuts.ts';
import { AT_HOME, type Moved, type Scene, type Served } from './scene.ts';

/** Planned moves of one half, there and home again, each with one partition. */

const HALF = SURVIVOR;
const ways = {
  relocate: { from: SURVIVOR, to: LOST },
  failback: { from: LOST, to: SURVIVOR },
} as const;
type Way = keyof typeof ways;

/** Where the move is when it happens, each with the line of the journal that is being written then. */
const moments = {
  'before-epoch': 'effect-copy',
  'before-drain': 'effect-epoch',
  'in-last': 'effect-drain',
  'in-serve': 'effect-last',
  /** Its users are the destination's, and nobody there has been told. */
  'after-serve': 'effect-serve',
} as const;
type When = keyof typeof moments;

/** `turned-back`: by two operators, while it lasts. */
const courses = ['once', 'twice', 'turned-back'] as const;
type Course = (typeof courses)[number];

interface PlannedPoint {
  way: Way;
  when: When;
  what: Lost;
  manner: Manner;
  course: Course;
}

/** Longer than what is silent is waited for, so that an attempt ends and the next one begins; shorter than the self-fence. */
const CUT_MS = 20_000;
/** So long is the site closed by itself that has seen nobody. */
const SELF_FENCED_MS = 80_000;

/** Null when the words name none. */
export function plannedPoint(name: string): PlannedPoint | null {
  const [way = '', when = '', what = '', manner = '', course = 'once'] = name.split('/');
  if (!(way in ways && when in moments && what in losses)) return null;
  const one = courses.find((known) => known === course);
  if (!one || !['dropped', 'refused', 'frozen'].includes(manner)) return null;
  return {
    way: way as Way,
    when: when as When,
    what: what as Lost,
    manner: manner === 'refused' ? 'refused' : 'dropped',
    course: one,
  };
}

/** In such an order that most begin where the one before has ended. */
export const plannedPoints = [
  'relocate/before-epoch/peer/dropped',
  'failback/before-epoch/peer-database/refused',
  'relocate/before-drain/peer/refused',
  'failback/before-drain/worker/frozen',
  'relocate/before-drain/own-vault/dropped',
  'failback/before-drain/witness/refused',
  'relocate/in-last/peer-vault/dropped',
  'failback/in-last/destination-worker/frozen',
  'relocate/in-last/peer/dropped/turned-back',
  'relocate/in-last/peer/dropped/twice',
  'failback/in-serve/peer-database/dropped',
  'relocate/in-serve/destination-postgres/frozen',
  'failback/in-serve/postgres/frozen',
  'relocate/in-serve/peer/refused/turned-back',
  'relocate/after-serve/peer-database/refused',
  'failback/after-serve/peer/dropped/twice',
  'relocate/after-serve/worker/frozen',
  'failback/after-serve/destination-postgres/frozen',
  'relocate/after-serve/destination-alone/dropped',
  'failback/in-last/alone/dropped',
] as const;

const servedAfter = (at: string): Served => ({ ...AT_HOME, [HALF]: at });

export async function walkPlannedPoint(scene: Scene, point: PlannedPoint, cutMs = CUT_MS): Promise<void> {
  const { from, to } = ways[point.way];
  await bring(scene, from);
  await scene.gate(from).arm(moments[point.when]);
  const moved = await move(scene, point.way, (operators) => part(scene, point, operators, cutMs));
  const wanted = point.course === 'turned-back' ? 'turned-back' : 'closed';
  if (moved.outcome !== wanted) throw new Error(`ended ${moved.outcome}`);
  await scene.settled(servedAfter(wanted === 'closed' ? to : from));
  scene.neverTwice();
  await scene.nothingLost();
  const faults = await scene.evidence(from, moved);
  if (faults.length > 0) throw new Error(faults.join('; '));
}

/** In peace, when they are not there. */
export async function bring(scene: Scene, site: string): Promise<void> {
  const here = `select from tandem.serving where half = '${HALF}' and site = '${site}'`;
  if ((await sql(scene.world.urlOf(site), here)).length > 0) return;
  await move(scene, site === HALF ? 'failback' : 'relocate');
  await scene.settled(servedAfter(site));
  scene.neverTwice();
}

function move(scene: Scene, way: Way, meanwhile?: (operators: Operators) => Promise<void>): Promise<Moved> {
  const { from, to } = ways[way];
  return scene.move({ site: from, workflow: 'relocate', half: HALF, from, to }, meanwhile);
}

/** The move is held at the gate: then it is lost what is lost, and the move goes on without it, until it is whole again. */
async function part(
  scene: Scene,
  { way, when, what, manner, course }: PlannedPoint,
  operators: Operators,
  cutMs: number,
): Promise<void> {
  const { world } = scene;
  const { from: here, to: there } = ways[way];
  const gate = scene.gate(here);
  await gate.untilHeld();
  const letGo = (): Promise<void> => (when === 'after-serve' ? gate.letCommit() : gate.letGo());
  // Nobody lets go of what is held in a database that stands still; a worker that does would never commit.
  const first = what === 'postgres' || what === 'worker';
  if (first) await letGo();
  let heal = await lose(world, what, { here, there, manner });
  if (!first) await letGo();
  const long = what === 'alone' || what === 'destination-alone';
  await untilOver(operators, long ? SELF_FENCED_MS : cutMs);
  if (course === 'turned-back') await turnBack(operators);
  if (course === 'twice') {
    await heal();
    heal = await lose(world, what, { here, there, manner });
    await untilOver(operators, cutMs);
  }
  await heal();
  operators.retries = true;
}

async function untilOver(operators: Operators, ms: number): Promise<void> {
  for (const deadline = Date.now() + ms; Date.now() < deadline; await pause(200))
    // A database that stands still answers nobody.
    if (await Promise.race([operators.hasEnded(), pause(1000).then(() => false)])) return;
}

/** A step that is under way ends first, and until then nobody turns it back. */
async function turnBack(operators: Operators): Promise<void> {
  for (const deadline = Date.now() + 120_000; ; await pause(1000)) {
    const failed = await operators.turnBack().then(
      () => null,
      (error: unknown) => String(error),
    );
    if (failed === null) return;
    if (Date.now() > deadline) throw new Error(failed);
  }
}
