import { S3Vault } from '../../activities/vault/s3.ts';
import type { Site } from '../rig/databases.ts';
import { FaultProxy } from '../rig/fault-proxy.ts';
import { PostgresProxy } from '../rig/postgres-proxy.ts';
import { Tripwire, type Blow } from '../rig/tripwire.ts';
import { DoomedMover, type End } from './doomed.ts';
import type { Bucket, Ground } from './ground.ts';
import type { Left, WalkedJob } from './jobs.ts';
import { halfWritten, openAll, usersOf } from './look.ts';
import { CUSTOMER, settled, undisturbed, type Connections, type Story } from './story.ts';

export const wires = ['s3', 'database'] as const;
export type Wire = (typeof wires)[number];

/** One way to die: at the n-th call of a kind, before the server hears of it or after it did it. */
export interface Point {
  wire: Wire;
  at: number;
  when: Blow['when'];
}

/** What happens at a point. */
export interface Accident {
  strike: (mover: DoomedMover) => void;
  /** Why this is not how the job must end by it; null when it is. */
  fault: (end: End) => string | null;
  /** Until the world is as it was. */
  over: () => Promise<void>;
}

const killed: Accident = {
  strike: (mover) => mover.kill(),
  fault: (end) => ('failure' in end ? `it failed before it was killed: ${end.failure}` : null),
  over: () => Promise.resolve(),
};

/** A run that nothing disturbs. */
export interface Course {
  job: WalkedJob;
  /** What each call is, for people. */
  calls: Record<Wire, string[]>;
  /** All that the database keeps of each user. */
  before: ReadonlyMap<string, string>;
  after: ReadonlyMap<string, string>;
  /** What lies in the vault before it: all of that was opened. */
  stock: string;
  end: string;
}

/** `unreached`: the run was done before it came to the point, as runs side by side do not always ask as much. */
export type Outcome = 'mended' | 'unreached';

export const nameOf = (job: WalkedJob, { wire, at, when }: Point): string => `${job.name}/${wire}/${at}/${when}`;

export function pointsOf({ calls }: Course): Point[] {
  return wires.flatMap((wire) =>
    calls[wire].flatMap((_, i) => (['before', 'after'] as const).map((when) => ({ wire, at: i + 1, when }))),
  );
}

async function stockOf({ shelf }: Left): Promise<string> {
  const found: string[] = [];
  for await (const { key, bytes } of shelf.vault.list('')) found.push(`${key} ${bytes}`);
  return found.join('\n');
}

type Ways<T> = Record<Site, T>;

/** Tries one point after the other, each in a world of its own. Lanes work side by side. */
export class Lane {
  private readonly ground: Ground;
  private readonly story: Story;
  private readonly counters: Record<Wire, Tripwire>;
  private readonly s3: Ways<FaultProxy>;
  private readonly postgres: Ways<PostgresProxy>;
  private readonly peers = new Map<string, Bucket>();
  private spare = new DoomedMover();

  private constructor(
    [ground, story]: [Ground, Story],
    counters: Lane['counters'],
    s3: Ways<FaultProxy>,
    postgres: Ways<PostgresProxy>,
  ) {
    this.ground = ground;
    this.story = story;
    this.counters = counters;
    this.s3 = s3;
    this.postgres = postgres;
  }

  static async open(ground: Ground, story: Story): Promise<Lane> {
    const { east, west } = ground.servers;
    const counters = { s3: new Tripwire(), database: new Tripwire() };
    const s3 = { east: await FaultProxy.open(east.vault.endpoint), west: await FaultProxy.open(west.vault.endpoint) };
    for (const proxy of [s3.east, s3.west])
      proxy.set((_, method, url) => counters.s3.next(`${method} ${url.split('?')[0]}`));
    const postgres = {
      east: await PostgresProxy.open(east.databaseUrl, counters.database),
      west: await PostgresProxy.open(west.databaseUrl, counters.database),
    };
    return new Lane([ground, story], counters, s3, postgres);
  }

  /** Runs a job to its end, and notes what it asked on the way. */
  async course(job: WalkedJob): Promise<Course> {
    return this.inNewWorld(job, async (at, left) => {
      const [before, stock] = [await usersOf(at.database), await stockOf(left)];
      await openAll(left.shelf, this.story.keys, 'west');
      const end = await this.run(job, at, null);
      if (!('result' in end)) throw new Error(`${job.name}: fails undisturbed: ${JSON.stringify(end)}`);
      const calls = { s3: this.counters.s3.calls, database: this.counters.database.calls };
      await openAll(left.shelf, this.story.keys, 'west');
      return { job, calls, before, after: await usersOf(at.database), stock, end: await job.end(left) };
    });
  }

  /**
   * Kills the job's process at a point, or strikes otherwise, and looks: what a vault lists can be read whole, each user is as before or as
   * after, no session is left. The job then runs again, without any help, and ends as if nothing had been. Else it throws.
   */
  async try(course: Course, point: Point, accident = killed): Promise<Outcome> {
    const { job } = course;
    return this.inNewWorld(job, async (at, left) => {
      const end = await this.run(job, at, point, accident);
      await accident.over();
      const fault = 'result' in end ? null : accident.fault(end);
      if (fault !== null) throw new Error(fault);
      await settled(at.database);
      if ((await stockOf(left)) !== course.stock) await openAll(left.shelf, this.story.keys, 'west');
      const half = halfWritten(await usersOf(at.database), course.before, course.after);
      if (half.length > 0) throw new Error(`users neither as before nor as after: ${half.join(', ')}`);
      if ('result' in end) return 'unreached';
      await this.again(job, at);
      const now = await job.end(left);
      if (now !== course.end)
        throw new Error(`the next run ends otherwise:\n  ${now}\n  not as undisturbed:\n  ${course.end}`);
      return 'mended';
    });
  }

  async close(): Promise<void> {
    await this.spare.close();
    const all = [this.s3.east, this.s3.west, this.postgres.east, this.postgres.west];
    await Promise.all(all.map((proxy) => proxy.close()));
  }

  private async run(job: WalkedJob, at: Connections, point: Point | null, { strike } = killed): Promise<End> {
    const mover = job.main === undefined ? this.spare : new DoomedMover(job.main);
    if (mover === this.spare) this.spare = new DoomedMover();
    for (const wire of wires)
      this.counters[wire].set(
        point?.wire === wire ? { at: point.at, when: point.when, strike: () => strike(mover) } : null,
      );
    const end = await mover.run(
      this.story.settings(job.site, this.through(job.site, at)),
      job.job,
      job.input(this.story),
    );
    for (const wire of wires) this.counters[wire].disarm();
    return end;
  }

  /** The job as production runs it, past all proxies. */
  private async again({ site, job, main, input }: WalkedJob, at: Connections): Promise<void> {
    const settings = this.story.settings(site, at);
    if (main === undefined) return void (await undisturbed(settings, job, input(this.story)));
    const end = await new DoomedMover(main).run(settings, job, input(this.story));
    if (!('result' in end)) throw new Error(`the next run fails: ${JSON.stringify(end)}`);
  }

  /** The same connections, by way of the proxies. */
  private through(site: Site, { database, own, peer }: Connections): Connections {
    const by = (proxy: FaultProxy, bucket: Bucket): Bucket => ({
      writer: { ...bucket.writer, endpoint: proxy.endpoint },
      reader: { ...bucket.reader, endpoint: proxy.endpoint },
      cleaner: { ...bucket.cleaner, endpoint: proxy.endpoint },
      root: bucket.root,
    });
    const other = site === 'east' ? 'west' : 'east';
    return {
      database: this.postgres[site].through(database),
      own: by(this.s3[site], own),
      peer: by(this.s3[other], peer),
    };
  }

  private async inNewWorld<T>(job: WalkedJob, work: (at: Connections, left: Left) => Promise<T>): Promise<T> {
    const { site, stage } = job;
    const model = this.story.stages[stage];
    const own = await this.ground.newBucket(site, model.own);
    const peer = this.peers.get(stage) ?? (await this.ground.newBucket(site === 'east' ? 'west' : 'east', model.peer));
    this.peers.set(stage, peer);
    const database = await this.ground.newDatabase(site, model.database);
    const vault = new S3Vault(own.root);
    try {
      const shelf = { vault, customer: CUSTOMER, site: 'east', publicKeys: this.story.publicKeys };
      return await work({ database, own, peer }, { database, own, shelf, story: this.story });
    } finally {
      vault.close();
      await this.ground.dropDatabase(site, database);
    }
  }
}
