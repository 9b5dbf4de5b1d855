import type { Tally } from '../failover/main.ts';
import { failureText } from '../../../workflows/model/failures.ts';
import { World } from '../failover/world.ts';
import { orderly } from '../orderly.ts';
import { bothPoints } from './both.ts';
import { lostPoints } from './lost.ts';
import { bring, plannedPoint, plannedPoints, walkPlannedPoint } from './planned.ts';
import { Scene } from './scene.ts';
import { SURVIVOR } from '../failover/world.ts';

const USERS = 200;

export const PARTITIONS = 'partitions';

interface Try {
  name: string;
  work: (scene: Scene) => Promise<void>;
}

/** A planned move that is named whole is tried also when it is none of those that are tried else. */
function triesOf(only: string | undefined): Try[] {
  const names = only?.split(',').map((name) => name.replace(/^partitions\/?/, ''));
  const lost = Object.entries({ ...lostPoints, ...bothPoints }).map(([name, work]) => ({
    name,
    work: async (scene: Scene): Promise<void> => {
      await bring(scene, SURVIVOR);
      await work(scene);
    },
  }));
  const known = new Set<string>([...plannedPoints, ...(names ?? []).filter((name) => plannedPoint(name) !== null)]);
  const planned = [...known].flatMap((name) => {
    const point = plannedPoint(name);
    return point ? [{ name, work: (scene: Scene) => walkPlannedPoint(scene, point) }] : [];
  });
  return [...planned, ...lost].filter(
    ({ name }) => names === undefined || names.some((one) => one === '' || `${name}/`.startsWith(`${one}/`)),
  );
}

/** Parts two sites of a stack of its own, again and again: all of it, or the points whose names begin like this. */
export async function walkPartitions({
  point,
  say,
}: {
  point: string | undefined;
  say: (line: string) => void;
}): Promise<Tally> {
  const tries = triesOf(point);
  const tally: Tally = { passed: 0, failed: 0 };
  if (tries.length === 0) return tally;
  const world = await World.open({ users: USERS, service: false, lines: true, selfFence: true });
  return orderly(
    () => world.close(),
    async () => {
      const scene = await Scene.open(world);
      say(`${PARTITIONS}: ${tries.length} tries`);
      for (const { name, work } of tries) {
        const started = Date.now();
        try {
          await work(scene);
          tally.passed += 1;
          say(`  ${PARTITIONS}/${name}: ${((Date.now() - started) / 1000).toFixed(1)} s`);
        } catch (error) {
          tally.failed += 1;
          say(`FAILED ${PARTITIONS}/${name}: ${failureText(error)}`);
          say(`  again: npm run walk -- --point ${PARTITIONS}/${name}`);
          await scene.clear();
        }
      }
      await scene.close();
      return tally;
    },
  );
}
