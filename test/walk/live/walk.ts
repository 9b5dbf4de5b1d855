import { setTimeout as pause } from 'node:timers/promises';
import type { TestReceipt } from '../../../workflows/model/continuity.ts';
import { sql } from '../../rig/sql.ts';
import { Gate } from '../failover/gate.ts';
import { linesOf, requireSame } from '../failover/walk.ts';
import { LOST, SURVIVOR, type World } from '../failover/world.ts';
import { Crew } from './crew.ts';

/** Users of one site, whom a test at the other one moves there and back. */
const HALF = LOST;
const NAME = 'pilot';
const SHARE = '10%';

const TRY_LIMIT_MS = 300_000;
const LOOK_MS = 300;

/**
 * Where the test is aborted: beside its moves, or while one of them is about to write a line of its journal. Before the first one has
 * its slot nothing of it is there: it is a move of its own then, which waits for signatures.
 */
export type Point = 'going' | 'returning' | { way: 'relocate' | 'failback'; line: string };

export const nameOf = (point: Point): string => (typeof point === 'string' ? point : `${point.way}/${point.line}`);

/** A test that nobody aborts: what its moves wrote, and what stands after it as before it. */
export interface Course {
  points: Point[];
  home: Home;
}

/** All that a test must leave as it was. */
interface Home {
  rights: string[];
  drained: number;
  moves: number;
  data: string[];
  due: string | null;
}

/** Live tests, each aborted at another point; whoever acts knows nothing but what is printed after `Next:`. */
export class LiveWalk {
  private readonly world: World;
  private readonly gates: Record<'relocate' | 'failback', Gate>;

  private constructor(world: World, gates: LiveWalk['gates']) {
    this.world = world;
    this.gates = gates;
  }

  static async open(world: World): Promise<LiveWalk> {
    await world.fill();
    await world.cover(LOST, SURVIVOR);
    await world.cover(SURVIVOR, LOST);
    const crew = new Crew(world);
    const { code, err } = await crew.type(`tandem cohort set ${NAME} --site ${HALF} --share ${SHARE}`);
    if (code !== 0) throw new Error(`no cohort: ${err}`);
    const [relocate, failback] = [await Gate.open(world.urlOf(HALF)), await Gate.open(world.urlOf(SURVIVOR))];
    return new LiveWalk(world, { relocate, failback });
  }

  async close(): Promise<void> {
    for (const gate of Object.values(this.gates)) await gate.close();
  }

  /** One test in peace, which passes. */
  async course(): Promise<Course> {
    const before = await this.home();
    const crew = new Crew(this.world);
    await crew.follow((await crew.begin(SURVIVOR, NAME)) ?? '');
    await this.bringToEnd(crew, AbortSignal.timeout(TRY_LIMIT_MS));
    const { outcome, because, live } = await this.receipt();
    if (outcome !== 'passed') throw new Error(`in peace it ${outcome}: ${because}`);
    const home = await this.home();
    requireSame({ ...home, due: null }, { ...before, due: null });
    const lines = async (way: 'relocate' | 'failback', at: string, move = ''): Promise<Point[]> =>
      (await linesOf(this.world.urlOf(at), move)).map((line) => ({ way, line }));
    const there = await lines('relocate', HALF, live?.went ?? '');
    const back = await lines('failback', SURVIVOR, live?.back ?? '');
    return { points: ['going', ...there, 'returning', { way: 'failback', line: 'slot' }, ...back], home };
  }

  /** Throws with what is not as before the test, or when nobody could know how to get there. */
  async try({ home }: Course, point: Point): Promise<void> {
    const signal = AbortSignal.timeout(TRY_LIMIT_MS);
    const crew = new Crew(this.world);
    try {
      const gate = typeof point === 'string' ? null : this.gates[point.way];
      if (gate && typeof point !== 'string') await gate.arm(point.line);
      const first = await crew.begin(SURVIVOR, NAME);
      if (point !== 'going') await this.comeTo(crew, point, first, signal);
      await this.end(crew, (await crew.abort()) ?? '');
      await gate?.letGo();
      await this.bringToEnd(crew, signal);
      const { outcome, because, residue } = await this.receipt();
      if (outcome !== 'aborted' || !/ ended it in phase \w+/.test(because)) throw new Error(`${outcome}: ${because}`);
      requireSame(residue?.left, []);
      requireSame(await this.home(), home);
    } catch (error) {
      const said = error instanceof Error ? error.message : String(error);
      throw new Error(`${said}\n  typed: ${crew.typed.join('\n         ')}`, { cause: error });
    }
  }

  /** While the line is held: what is signed by as many as it takes comes before it. A move that only goes on is not waited for. */
  private async end(crew: Crew, next: string): Promise<void> {
    for (let i = / turn-back /.test(next) ? 2 : / watch /.test(next) || next === '' ? 0 : 1; i > 0; i -= 1)
      await crew.type(next);
  }

  /** After a try that went wrong: nothing is held, and nothing runs. */
  async clear(): Promise<void> {
    for (const gate of Object.values(this.gates)) await gate.letGo();
    const crew = new Crew(this.world);
    await this.bringToEnd(crew, AbortSignal.timeout(TRY_LIMIT_MS));
  }

  /** The crew goes on until then; whoever follows a move at that moment stops. */
  private async comeTo(crew: Crew, point: Point, first: string | null, signal: AbortSignal): Promise<void> {
    const there = new AbortController();
    const reached = async (): Promise<void> => {
      if (typeof point === 'string') return;
      await this.gates[point.way].untilHeld().finally(() => there.abort());
      crew.interrupt();
    };
    const goOn = async (): Promise<void> => {
      for (let next = first; !there.signal.aborted; next = (await crew.asked()).next) {
        signal.throwIfAborted();
        if (point === 'returning' && next?.includes(' failback start ')) return;
        if (next) await crew.follow(next, there.signal);
        else await pause(LOOK_MS);
      }
    };
    await Promise.all([reached(), goOn()]);
  }

  /** As `Next:` says, until no test runs any more. */
  private async bringToEnd(crew: Crew, signal: AbortSignal): Promise<void> {
    for (;;) {
      const { runs, next } = await crew.asked();
      if (!runs) return;
      if (signal.aborted) throw new Error(`it does not end; it asks for ${next ?? 'nothing'}`);
      if (next) await crew.follow(next);
      else await pause(LOOK_MS);
    }
  }

  private async receipt(): Promise<TestReceipt> {
    const { out } = await new Crew(this.world).type(`tandem test report --customer ${this.world.customer} --json`);
    return JSON.parse(out) as TestReceipt;
  }

  private async home(): Promise<Home> {
    const sides = await Promise.all(
      [LOST, SURVIVOR].map(async (site) => {
        const [side] = await sql<{ rights: string; drained: number; moves: number; data: string }>(
          this.world.urlOf(site),
          `select (select string_agg(s.half || ' at ' || s.site || case when s.epoch = e.number then '' else ', old' end, '; ' order by s.half)
                     from tandem.serving s join tandem.epoch e using (customer)) as rights,
                  (select count(*) from tandem.drained)::int as drained,
                  (select count(*) from tandem.move where ended_at is null)::int as moves,
                  (select md5(string_agg(t::text, ';' order by t::text)) from (
                     select username, jid, nick, subscription from rosterusers union all
                     select l.username, d.value, d.action, l.name from privacy_list l join privacy_list_data d using (id)) t) as data`,
        );
        if (!side) throw new Error(`nothing to be seen at ${site}`);
        return side;
      }),
    );
    const { out } = await new Crew(this.world).type(`tandem status --customer ${this.world.customer} --json`);
    const { tests } = JSON.parse(out) as { tests: { standing: { due: string | null } | null } };
    return {
      rights: sides.map(({ rights }) => rights),
      drained: sides.reduce((n, { drained }) => n + drained, 0),
      moves: sides.reduce((n, { moves }) => n + moves, 0),
      data: sides.map(({ data }) => data),
      due: tests.standing?.due ?? null,
    };
  }
}
