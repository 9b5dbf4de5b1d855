import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { down } from '../../ops/embedded/control.ts';
import { up } from '../../ops/embedded/stack.ts';
import { spareDisk } from '../rig/sql.ts';
import type { Tally } from './failover/main.ts';
import { Ground } from './ground.ts';
import type { WalkedJob } from './jobs.ts';
import { orderly } from './orderly.ts';
import { tellStory } from './story.ts';
import { Lane, nameOf, pointsOf, type Course, type Point } from './walk.ts';

/** A run may ask a little less than the one that was counted; if many do, the walk proves nothing. */
const UNREACHED_SHARE = 0.05;

interface Options {
  /** Only this one. */
  point: string | undefined;
  /** From this call of each kind on. */
  from: number;
  /** Worlds side by side. */
  lanes: number;
  say: (line: string) => void;
}

interface Found {
  mended: number;
  unreached: number;
  failed: number;
}

/** Walks the jobs of the data mover over a stack of its own. */
export async function walkJobs(walked: readonly WalkedJob[], options: Options): Promise<Tally> {
  if (!(options.lanes >= 1)) throw new Error(`--lanes ${options.lanes}: at least 1`);
  const folder = await mkdtemp(join(tmpdir(), 'tandem-walk-'));
  const close = async (): Promise<void> => {
    await down(folder);
    await rm(folder, { recursive: true, force: true });
  };
  return orderly(close, async () => {
    const { sites } = await up({ folder, workers: false, service: false });
    const { east, west } = sites;
    if (!east || !west) throw new Error('the stack has no sites east and west');
    for (const { superuserUrl } of [east, west]) await spareDisk(superuserUrl);
    return walk(new Ground({ east, west }), walked, options);
  });
}

async function walk(ground: Ground, walked: readonly WalkedJob[], options: Options): Promise<Tally> {
  const { say } = options;
  const story = await tellStory(ground);
  const lanes = await Promise.all(Array.from({ length: options.lanes }, () => Lane.open(ground, story)));
  const found: Found = { mended: 0, unreached: 0, failed: 0 };
  try {
    for (const job of walked) {
      const started = Date.now();
      const [first] = lanes;
      if (!first) throw new Error('no lane');
      const course = await first.course(job);
      const { s3, database } = course.calls;
      say(`${job.name}: ${s3.length} S3 requests, ${database.length} database messages, each before and after`);
      const waiting = pointsOf(course).filter((point) => wanted(options, course, point));
      await Promise.all(lanes.map((lane) => workThrough(lane, course, waiting, { found, say })));
      say(`${job.name}: done in ${Math.round((Date.now() - started) / 1000)} s`);
    }
  } finally {
    await Promise.all(lanes.map((lane) => lane.close()));
  }
  const { mended, unreached, failed } = found;
  const vacuous = unreached > UNREACHED_SHARE * (mended + unreached);
  if (unreached > 0) say(`${unreached} points were not reached${vacuous ? ': too many' : ''}`);
  return { passed: mended + unreached, failed: failed + Number(vacuous) };
}

const wanted = ({ point: only, from }: Options, { job }: Course, point: Point): boolean =>
  only === undefined ? point.at >= from : nameOf(job, point) === only;

/** Takes points from `waiting`, which all lanes share, until none is left. */
async function workThrough(
  lane: Lane,
  course: Course,
  waiting: Point[],
  { found, say }: { found: Found; say: Options['say'] },
): Promise<void> {
  for (let point = waiting.shift(); point; point = waiting.shift()) {
    const name = nameOf(course.job, point);
    try {
      found[await lane.try(course, point)] += 1;
      const sum = found.mended + found.unreached + found.failed;
      if (sum % 50 === 0) say(`  ${name}; ${sum} points so far`);
    } catch (error) {
      found.failed += 1;
      const what = course.calls[point.wire][point.at - 1] ?? '';
      say(`FAILED ${name} (${what}): ${error instanceof Error ? error.message : String(error)}`);
      say(`  again: npm run walk -- --point ${name}`);
    }
  }
}
