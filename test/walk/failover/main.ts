import { findEjabberd } from '../../../ops/reference-service/ejabberd/installed.ts';
import { orderly } from '../orderly.ts';
import { frozenIn, type FrozenStep } from './late.ts';
import { nameOf, pointsOf, RunbookWalk, type Course } from './walk.ts';
import { World } from './world.ts';

const USERS = 200;

export interface Tally {
  passed: number;
  failed: number;
}

/** The shipped runbook over the databases alone, and what it does more where users are served by real servers. */
export const runbookWalks = ['failover', 'service'] as const;
export type RunbookWalkName = (typeof runbookWalks)[number];

/** Lines that `service` walks: the others are those of `failover`, and a probe changes nothing. */
const SERVICE_LINES = new Set(['entitled', 'parity', 'archive', 'proxy', 'dns'].map((step) => `effect-${step}`));

/** Walks over a stack of its own: all of it, or one point. */
export async function walkRunbook({
  walk: name,
  point: only,
  say,
}: {
  walk: RunbookWalkName;
  point: string | undefined;
  say: (line: string) => void;
}): Promise<Tally> {
  const service = name === 'service';
  if (service && !findEjabberd()) {
    say(`${name}: left out, there is no ejabberd on this machine`);
    return { passed: 0, failed: 0 };
  }
  const world = await World.open({ users: USERS, service });
  return orderly(
    () => world.close(),
    async () => {
      const walk = await RunbookWalk.open(world);
      const course = await walk.course();
      const all = service
        ? accidentsAt(walk, course, name)
        : [...accidentsAt(walk, course, name), ...lateIn(walk, course)];
      const tries = all.filter((t) => only === undefined || t.name === only);
      say(`${name}: ${course.lines.length} places, ${tries.length} tries`);
      const tally: Tally = { passed: 0, failed: 0 };
      for (const { name: point, work } of tries) {
        const started = Date.now();
        try {
          await work();
          tally.passed += 1;
          say(`  ${point}: ${((Date.now() - started) / 1000).toFixed(1)} s`);
        } catch (error) {
          tally.failed += 1;
          say(`FAILED ${point}: ${error instanceof Error ? error.message : String(error)}`);
          say(`  again: npm run walk -- --point ${point}`);
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

function accidentsAt(walk: RunbookWalk, course: Course, of: RunbookWalkName): Try[] {
  const lines = of === 'service' ? course.lines.filter((line) => SERVICE_LINES.has(line)) : course.lines;
  return pointsOf(lines).map((point) => ({ name: `${of}/${nameOf(point)}`, work: () => walk.try(course.end, point) }));
}

const lateIn = (walk: RunbookWalk, course: Course): Try[] =>
  (Object.keys(frozenIn) as FrozenStep[]).map((step) => ({
    name: `failover/late/${step}`,
    work: () => walk.wakeLate(course, step),
  }));
