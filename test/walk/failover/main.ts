import { orderly } from '../orderly.ts';
import { frozenIn, type FrozenStep } from './late.ts';
import { nameOf, pointsOf, RunbookWalk, type Course } from './walk.ts';
import { World } from './world.ts';

export { nameOf } from './walk.ts';

const USERS = 200;

export interface Tally {
  passed: number;
  failed: number;
}

/** Walks the shipped runbook over a stack of its own: all of it, or one point. */
export async function walkRunbook({
  point: only,
  say,
}: {
  point: string | undefined;
  say: (line: string) => void;
}): Promise<Tally> {
  const world = await World.open(USERS);
  return orderly(
    () => world.close(),
    async () => {
      const walk = await RunbookWalk.open(world);
      const course = await walk.course();
      const tries = triesOf(walk, course).filter(({ name }) => only === undefined || name === only);
      say(`failover: ${course.lines.length} places, ${tries.length} tries`);
      const tally: Tally = { passed: 0, failed: 0 };
      for (const { name, work } of tries) {
        const started = Date.now();
        try {
          await work();
          tally.passed += 1;
          say(`  ${name}: ${((Date.now() - started) / 1000).toFixed(1)} s`);
        } catch (error) {
          tally.failed += 1;
          say(`FAILED ${name}: ${error instanceof Error ? error.message : String(error)}`);
          say(`  again: npm run walk -- --point ${name}`);
          await walk.clear();
        }
      }
      await walk.close();
      return tally;
    },
  );
}

interface Try {
  name: string;
  work: () => Promise<void>;
}

function triesOf(walk: RunbookWalk, course: Course): Try[] {
  const accidents = pointsOf(course).map((point) => ({ name: nameOf(point), work: () => walk.try(course, point) }));
  const late = (Object.keys(frozenIn) as FrozenStep[]).map((step) => ({
    name: `failover/late/${step}`,
    work: () => walk.wakeLate(course, step),
  }));
  return [...accidents, ...late];
}
