import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { down } from '../../ops/embedded/control.ts';
import { up } from '../../ops/embedded/stack.ts';
import { spareDisk } from '../rig/sql.ts';
import { Ground } from './ground.ts';
import { jobs } from './jobs.ts';
import { tellStory } from './story.ts';
import { Lane, nameOf, pointsOf, type Course, type Point } from './walk.ts';

const HELP = `Kills each job of the data mover with -9 at every S3 request and every database message, on real servers.

  npm run walk                                 all of it, some minutes
  npm run walk -- --only snapshot,restore      jobs whose names begin like this: ${jobs.map(({ name }) => name).join(', ')}
  npm run walk -- --from 120                   from the 120th call of each kind on
  npm run walk -- --lanes 4                    how many worlds side by side (default 3)
  npm run walk -- --point restore/database/17/after
`;
/** A run may ask a little less than the one that was counted; if many do, the walk proves nothing. */
const UNREACHED_SHARE = 0.05;

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    from: { type: 'string', default: '1' },
    lanes: { type: 'string', default: '3' },
    point: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

const say = (line: string): void => void process.stdout.write(`${line}\n`);

interface Tally {
  mended: number;
  unreached: number;
  failed: number;
}

async function walk(ground: Ground): Promise<boolean> {
  const only = values.point?.split('/')[0] ?? values.only;
  const chosen = jobs.filter(({ name }) => only.split(',').some((part) => name.startsWith(part)));
  const story = await tellStory(ground);
  const lanes = await Promise.all(Array.from({ length: Number(values.lanes) }, () => Lane.open(ground, story)));
  const tally: Tally = { mended: 0, unreached: 0, failed: 0 };
  try {
    for (const job of chosen) {
      const started = Date.now();
      const [first] = lanes;
      if (!first) throw new Error(`--lanes ${values.lanes}: at least 1`);
      const course = await first.course(job);
      const { s3, database } = course.calls;
      say(`${job.name}: ${s3.length} S3 requests, ${database.length} database messages, each before and after`);
      const waiting = pointsOf(course).filter(wanted(course));
      await Promise.all(lanes.map((lane) => workThrough(lane, course, waiting, tally)));
      say(`${job.name}: done in ${Math.round((Date.now() - started) / 1000)} s`);
    }
  } finally {
    await Promise.all(lanes.map((lane) => lane.close()));
  }
  const { mended, unreached, failed } = tally;
  if (mended + unreached + failed === 0) say('There is no such point: `npm run walk -- --help` names the jobs.');
  const vacuous = unreached > UNREACHED_SHARE * (mended + unreached);
  if (unreached > 0) say(`${unreached} points were not reached${vacuous ? ': too many' : ''}`);
  say(`${mended + unreached} passed, ${failed + Number(vacuous)} failed`);
  return failed === 0 && !vacuous && mended > 0;
}

function wanted({ job }: Course): (point: Point) => boolean {
  const { point: only } = values;
  return (point) => (only === undefined ? point.at >= Number(values.from) : nameOf(job, point) === only);
}

/** Takes points from `waiting`, which all lanes share, until none is left. */
async function workThrough(lane: Lane, course: Course, waiting: Point[], tally: Tally): Promise<void> {
  for (let point = waiting.shift(); point; point = waiting.shift()) {
    const name = nameOf(course.job, point);
    try {
      tally[await lane.try(course, point)] += 1;
      const sum = tally.mended + tally.unreached + tally.failed;
      if (sum % 50 === 0) say(`  ${name}; ${sum} points so far`);
    } catch (error) {
      tally.failed += 1;
      const what = course.calls[point.wire][point.at - 1] ?? '';
      say(`FAILED ${name} (${what}): ${error instanceof Error ? error.message : String(error)}`);
      say(`  again: npm run walk -- --point ${name}`);
    }
  }
}

async function main(): Promise<boolean> {
  const folder = await mkdtemp(join(tmpdir(), 'tandem-walk-'));
  const close = async (): Promise<void> => {
    await down(folder);
    await rm(folder, { recursive: true, force: true });
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => void close().finally(() => process.exit(1)));
  try {
    const { sites } = await up({ folder, workers: false });
    const { east, west } = sites;
    if (!east || !west) throw new Error('the stack has no sites east and west');
    for (const { superuserUrl } of [east, west]) await spareDisk(superuserUrl);
    return await walk(new Ground({ east, west }));
  } finally {
    await close();
  }
}

if (values.help) say(HELP);
else process.exitCode = (await main()) ? 0 : 1;
