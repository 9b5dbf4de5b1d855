import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { Ground } from '../walk/ground.ts';
import { jobs, type WalkedJob } from '../walk/jobs.ts';
import { tellStory } from '../walk/story.ts';
import { Lane, nameOf, pointsOf, type Course, type Outcome, type Point } from '../walk/walk.ts';

/** A sample of `npm run walk`, which kills each job at every one of its calls. */

/** Other points on other days would make failures that nobody can repeat. */
const SEED = 20;
const LANES = 3;

let ground: Ground;
let lanes: Lane[];
beforeAll(async () => {
  const { east, west } = inject('stack').sites;
  if (!east || !west) throw new Error('no sites in the rig');
  ground = new Ground({ east, west });
  const story = await tellStory(ground);
  lanes = await Promise.all(Array.from({ length: LANES }, () => Lane.open(ground, story)));
});
afterAll(async () => {
  await Promise.all(lanes.map((lane) => lane.close()));
  await ground.close();
});

/** When the manifest, or what else is last, was stored and nobody was told; and when the ledger was written, or one by chance. */
function sample(course: Course): Point[] {
  const { s3, database } = course.calls;
  const manifest = s3.findIndex((call) => /^PUT .*\/m\//.test(call)) + 1;
  const last = (method: string): number => s3.findLastIndex((call) => call.startsWith(method)) + 1;
  const store = manifest || last('PUT') || last('DELETE') || s3.length;
  const ledger = database.findLastIndex((call) => call.startsWith('insert into tandem.ledger')) + 1;
  const all = pointsOf(course);
  const byChance = all[(SEED * 57) % all.length];
  return [
    { wire: 's3', at: store, when: 'after' },
    ...(ledger > 0 ? [{ wire: 'database', at: ledger, when: 'after' } as const] : byChance ? [byChance] : []),
  ];
}

async function tryAll(course: Course, points: Point[]): Promise<Record<string, Outcome>> {
  const waiting = [...points];
  const found: Record<string, Outcome> = {};
  const work = async (lane: Lane): Promise<void> => {
    for (let point = waiting.shift(); point; point = waiting.shift()) {
      const name = nameOf(course.job, point);
      found[name] = await lane.try(course, point).catch((cause: unknown) => {
        throw new Error(`npm run walk -- --point ${name}: ${String(cause)}`, { cause });
      });
    }
  };
  await Promise.all(lanes.map(work));
  return found;
}

describe('a data mover killed with -9', () => {
  it.each(jobs.map((job): [string, WalkedJob] => [job.name, job]))(
    'in %s leaves nothing half, and the next run ends as if nothing had been',
    async (_name, job) => {
      const [first] = lanes;
      if (!first) throw new Error('no lane');
      const course = await first.course(job);
      const points = sample(course);
      const found = await tryAll(course, points);
      // Runs side by side may ask a little less than the one that was counted.
      const unreached = Object.values(found).filter((outcome) => outcome === 'unreached');
      expect(unreached.length).toBeLessThan(2);
    },
  );
});
