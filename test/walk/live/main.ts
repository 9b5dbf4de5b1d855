import type { Tally } from '../failover/main.ts';
import { World } from '../failover/world.ts';
import { orderly } from '../orderly.ts';
import { LiveWalk, nameOf } from './walk.ts';

const USERS = 200;

export const liveWalks = ['live'] as const;

/** Live tests over a stack of its own, aborted at all points, or at those whose names begin like this. */
export async function walkLive({
  point: only,
  say,
}: {
  point: string | undefined;
  say: (line: string) => void;
}): Promise<Tally> {
  const world = await World.open({ users: USERS, service: false });
  return orderly(
    () => world.close(),
    async () => {
      const walk = await LiveWalk.open(world);
      const course = await walk.course();
      const points = course.points.filter(
        (point) => only === undefined || only.split(',').some((one) => `live/${nameOf(point)}/`.startsWith(`${one}/`)),
      );
      say(`live: ${course.points.length} places, ${points.length} tries`);
      const tally: Tally = { passed: 0, failed: 0 };
      for (const point of points) {
        const name = `live/${nameOf(point)}`;
        const started = Date.now();
        try {
          await walk.try(course, point);
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
