import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { down, killProcess } from '../../ops/embedded/control.ts';
import { choosePorts } from '../../ops/embedded/ports.ts';
import { contactsDatabase, preparePostgres, startPostgres } from '../../ops/embedded/postgres.ts';
import { databaseUrl } from '../../ops/embedded/secrets.ts';
import { points } from '../rig/form.ts';
import { Ground } from '../walk/ground.ts';
import { jobs } from '../walk/jobs.ts';
import { tellStory } from '../walk/story.ts';
import { Lane, type Accident, type Course, type Point } from '../walk/walk.ts';

/** A PostgreSQL of its own, which is shut down at once (SIGQUIT: no checkpoint, no goodbye) and started again in mid-run. */

const SITE = 'east';
let folder: string;
let port: number;
let lane: Lane;

async function start(): Promise<void> {
  await startPostgres(folder, SITE, port);
  await preparePostgres(folder, SITE, port);
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tandem-restart-'));
  port = (await choosePorts(folder, [SITE]))[SITE]?.postgres ?? 0;
  await start();
  const postgres = {
    databaseUrl: await databaseUrl(folder, SITE, 'tandem', port, contactsDatabase),
    superuserUrl: await databaseUrl(folder, SITE, 'postgres', port, 'postgres'),
  };
  const { east, west } = inject('stack').sites;
  if (!east || !west) throw new Error('no sites in the rig');
  const servers = { east: { ...postgres, vault: east.vault }, west: { ...postgres, vault: west.vault } };
  const ground = new Ground(servers, { crashes: true });
  lane = await Lane.open(ground, await tellStory(ground));
});
afterAll(async () => {
  await lane.close();
  await down(folder);
  await rm(folder, { recursive: true, force: true });
});

/** Whatever the job was doing, its failure is of one kind, and may be tried again. */
function restart(): Accident & { said: string[] } {
  let restarted: Promise<void> = Promise.reject(new Error('PostgreSQL was not restarted'));
  restarted.catch(() => undefined);
  const said: string[] = [];
  return {
    said,
    strike() {
      restarted = killProcess(folder, SITE, 'postgres', 'SIGQUIT').then(start);
      restarted.catch(() => undefined); // It is awaited when the job has ended.
    },
    over: () => restarted,
    fault(end) {
      const failure = 'failure' in end ? end.failure : 'it did not fail';
      said.push(failure);
      return failure.startsWith('database-unreachable: database of acme at ') ? null : failure;
    },
  };
}

const courses = new Map<string, Course>();
async function courseOf(name: string): Promise<Course> {
  const job = jobs.find((j) => j.name === name);
  if (!job) throw new Error(`no job ${name}`);
  const course = courses.get(name) ?? (await lane.course(job));
  courses.set(name, course);
  return course;
}

/** The n-th call that begins like this; from the end when negative. */
function callAt({ calls }: Course, text: string, n: number): number {
  const found = calls.database.flatMap((call, i) => (call.startsWith(text) ? [i + 1] : [])).at(n);
  if (found === undefined) throw new Error(`no call ${n} of ${text}: ${calls.database.join('; ')}`);
  return found;
}

type Restart = [job: string, when: Point['when'], call: string, n: number];

/** In the middle of a COPY; with a transaction open; before it is committed; and when it is, and nobody was told. */
const restarts = points<Restart>(
  [
    ['snapshot-first', 'amid', 'copy (select r.username', 0],
    ['standby', 'after', 'insert into rosterusers', 1],
    ['standby', 'after', 'commit', -2],
    ['restore', 'before', 'commit', 3],
  ],
  [
    ['snapshot-changes', 'amid', 'copy (', 0],
    ['standby', 'before', 'commit', -1],
    ['restore', 'after', 'insert into rosterusers', 1],
    ['restore', 'after', 'commit', -1],
  ],
);

describe('PostgreSQL restarted', () => {
  it.each(restarts)(
    'in %s, %s “%s” number %i: users of a transaction stand, of the next none, no snapshot is half, and it may be tried again',
    async (job, when, call, n) => {
      const course = await courseOf(job);
      const accident = restart();
      const at = callAt(course, call, n);
      expect(await lane.try(course, { wire: 'database', at, when }, accident)).toBe('mended');
      // One that reads has seen it; one that writes may have ended what it was told of.
      expect(accident.said.length).toBeGreaterThanOrEqual(when === 'amid' ? 1 : 0);
    },
  );
});
