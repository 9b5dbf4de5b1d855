import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { points } from '../rig/form.ts';
import { Ground } from '../walk/ground.ts';
import { jobs, type WalkedJob } from '../walk/jobs.ts';
import { tellStory } from '../walk/story.ts';
import { Lane, nameOf, type Course, type Outcome, type Point } from '../walk/walk.ts';

/** A sample of `npm run walk`, which kills each job at every one of its calls. */

let ground: Ground;
let lane: Lane;
beforeAll(async () => {
  const { east, west } = inject('stack').sites;
  if (!east || !west) throw new Error('no sites in the rig');
  ground = new Ground({ east, west });
  lane = await Lane.open(ground, await tellStory(ground));
});
afterAll(async () => {
  await lane.close();
  await ground.close();
});

/**
 * When the manifest was stored, or the ledger written, or what else is last was stored; and nobody was told. Snapshots have both: one of
 * them dies at its ledger.
 */
function sample({ job, calls: { s3, database } }: Course): Point {
  const manifest = s3.findIndex((call) => /^PUT .*\/m\//.test(call)) + 1;
  const ledger = database.findLastIndex((call) => call.startsWith('insert into tandem.ledger')) + 1;
  if (ledger > 0 && (manifest === 0 || job.name === 'snapshot-all'))
    return { wire: 'database', at: ledger, when: 'after' };
  const last = (method: string): number => s3.findLastIndex((call) => call.startsWith(method)) + 1;
  return { wire: 's3', at: manifest || last('PUT') || last('DELETE') || s3.length, when: 'after' };
}

/** Runs do not always ask as much as the one that was counted: one that is done before it came to the point is no try. */
const TRIES = 3;

/** Each way of writing: a snapshot, a copy into the own vault, rows by themselves and under a move, and what is deleted. */
const walked = points(
  ['snapshot-changes', 'pull', 'standby', 'restore', 'retention'],
  ['snapshot-first', 'snapshot-all', 'verify', 'held'],
);

describe('a data mover killed with -9', () => {
  it.each(walked.map((name): [string, WalkedJob | undefined] => [name, jobs.find((job) => job.name === name)]))(
    'in %s leaves nothing half, and the next run ends as if nothing had been',
    async (word, job) => {
      if (!job) throw new Error(`no job ${word}`);
      const course = await lane.course(job);
      const point = sample(course);
      const name = nameOf(job, point);
      let outcome: Outcome = 'unreached';
      for (let n = 0; n < TRIES && outcome === 'unreached'; n += 1) {
        outcome = await lane.try(course, point).catch((cause: unknown) => {
          throw new Error(`npm run walk -- --point ${name}: ${String(cause)}`, { cause });
        });
      }
      expect(outcome).toBe('mended');
    },
  );
});
