import type { Tally } from '../failover/main.ts';
import { World } from '../failover/world.ts';
import { orderly } from '../orderly.ts';
import { nameOf, PlannedWalk, pointsOf, type Way } from './walk.ts';

const USERS = 200;

export const plannedWalks = ['relocate', 'failback', 'cohort', 'cohort-rest'] as const satisfies Way[];

/** Walks over a stack of its own: all of it, or the points whose names begin like this. */
export async function walkPlanned({
  way,
  point: only,
  say,
}: {
  way: Way;
  point: string | undefined;
  say: (line: string) => void;
}): Promise<Tally> {
  if (only?.split(',').every((one) => one.split('/')[0] !== way)) return { passed: 0, failed: 0 };
  const world = await World.open({ users: USERS, service: false });
  return orderly(
    () => world.close(),
    async () => {
      const walk = await PlannedWalk.open(world);
      const course = await walk.course(way);
      const points = pointsOf(way, course.lines).filter(
        (point) =>
          only === undefined || only.split(',').some((one) => `${way}/${nameOf(point)}/`.startsWith(`${one}/`)),
      );
      say(`${way}: ${course.lines.length} places, ${points.length} tries`);
      const tally: Tally = { passed: 0, failed: 0 };
      for (const point of points) {
        const name = `${way}/${nameOf(point)}`;
        const started = Date.now();
        try {
          await walk.try(way, course.end, point);
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
