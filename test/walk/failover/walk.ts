import { isDeepStrictEqual } from 'node:util';
import { failoverHandle } from '../../../ops/moves.ts';
import { sql } from '../../rig/sql.ts';
import { accidents, happen, moments, type Accident, type Moment } from './accidents.ts';
import { Gate } from './gate.ts';
import { endOf, type End } from './judge.ts';
import { frozenIn, LateWorker, stateOf, type FrozenStep } from './late.ts';
import { Operators } from './operators.ts';
import { LOST, SURVIVOR, type World } from './world.ts';

/** Of one move, with everything that happens to it. */
const MOVE_LIMIT_MS = 300_000;

export interface Point {
  /** The first line of a transaction on the journal, or the slot. */
  line: string;
  accident: Accident;
  moment: Moment;
}

export const nameOf = ({ line, accident, moment }: Point): string => `${line}/${accident}/${moment}`;

/** A move to which nothing happened: what it wrote, and how it ended. */
export interface Course {
  lines: string[];
  end: End;
}

export const pointsOf = (lines: readonly string[]): Point[] =>
  lines.flatMap((line) =>
    accidents.flatMap((accident) => moments.map((moment): Point => ({ line, accident, moment }))),
  );

/** The shipped runbook, walked again and again over one lost site. */
export class RunbookWalk {
  readonly world: World;
  private readonly gate: Gate;

  private constructor(world: World, gate: Gate) {
    this.world = world;
    this.gate = gate;
  }

  static async open(world: World): Promise<RunbookWalk> {
    await world.loseSite();
    return new RunbookWalk(world, await Gate.open(world.url));
  }

  /** One move in peace. */
  async course(): Promise<Course> {
    const { move, end } = await this.move(async () => undefined);
    return { lines: ['slot', ...(await linesOf(this.world.url, move))], end };
  }

  /** Throws with what is not as it is in peace. Points of one move come in the order in which it does. */
  async try(inPeace: End, ...points: readonly Point[]): Promise<void> {
    const { world, gate } = this;
    await gate.arm(points[0]?.line ?? 'slot');
    const { end, wrongly } = await this.move(async (operators) => {
      for (const [i, { accident, moment }] of points.entries()) {
        await gate.untilHeld();
        const next = points[i + 1];
        const ahead = next && (() => gate.arm(next.line));
        await operators.without(async () => {
          await happen({ world, gate, operators, site: SURVIVOR, ahead }, accident, moment);
          if (accident === 'databases') await operators.goOn();
        });
      }
    });
    requireSame(end, inPeace);
    if (wrongly.length > 0) throw new Error(wrongly.join('; '));
  }

  /**
   * A worker stands still right before a step's effect, another one brings the move to its end and the next move after
   * it: then the first wakes up. It must change nothing, and be told why.
   */
  async wakeLate(course: Course, step: FrozenStep): Promise<void> {
    const { world, gate } = this;
    await world.kill(SURVIVOR, 'worker');
    const late = await LateWorker.start(world);
    try {
      const { after, waiting, told } = frozenIn[step];
      await gate.arm(after);
      const { end } = await this.move(async (operators) => {
        await gate.untilHeld();
        await operators.pauseAfter(() => gate.letCommit());
        const letGo = await gate.holdReaders(world.url);
        // Its answer waits for the journal, and is not waited for.
        operators.say('resume').catch(() => undefined);
        await gate.untilReaders(waiting);
        await late.freeze();
        await letGo();
        await world.mend();
      });
      requireSame(end, course.end);
      requireSame((await this.course()).end, course.end);
      const before = await stateOf(world);
      const wasTold = await late.wake(told);
      await late.end();
      if ((await stateOf(world)) !== before)
        throw new Error(`step ${step}: an attempt of an older move changed something`);
      if (!wasTold) throw new Error(`step ${step}: the attempt of an older move was not told`);
    } finally {
      await late.end();
      await world.mend();
    }
  }

  /** After a try that went wrong: nothing is held, and nobody holds the slot. */
  async clear(): Promise<void> {
    const { world, gate } = this;
    await gate.letGo();
    await world.mend();
    const client = await world.client();
    await failoverHandle(client, world.customer)
      .terminate('the try went wrong')
      .catch(() => undefined); // It had ended, or Temporal has lost it.
    await client.connection.close();
    await sql(world.url, "update tandem.move set phase = 'aborted', ended_at = now() where ended_at is null");
  }

  async close(): Promise<void> {
    await this.gate.close();
  }

  /** Declares the site lost and brings the move to its end, while `meanwhile` does what it does. */
  private async move(
    meanwhile: (operators: Operators) => Promise<void>,
  ): Promise<{ move: string; end: End; wrongly: string[] }> {
    const signal = AbortSignal.timeout(MOVE_LIMIT_MS);
    await this.world.closeAgain();
    const client = await this.world.client();
    try {
      const operators = new Operators(this.world, client, {
        site: SURVIVOR,
        workflow: 'failover',
        input: {
          customer: this.world.customer,
          from: LOST,
          reason: 'every process of the site was killed',
          requestedBy: 'operator-1',
          isolation: 'its processes were killed by this walk',
        },
      });
      await operators.declare();
      await operators.bringToEnd(signal, () => meanwhile(operators));
      const { move } = operators;
      return { move, end: await endOf(this.world, move, signal), wrongly: operators.askedWrongly() };
    } finally {
      await client.connection.close();
    }
  }
}

export function requireSame(end: unknown, inPeace: unknown): void {
  if (!isDeepStrictEqual(end, inPeace))
    throw new Error(`ended as ${JSON.stringify(end)}, and in peace as ${JSON.stringify(inPeace)}`);
}

/** The first line of each transaction: those that were written together are lost together. */
export async function linesOf(url: string, move: string): Promise<string[]> {
  const rows = await sql<{ line: string }>(
    url,
    `select line from (
       select distinct on (xmin::text) seq, walk.name(kind, key, body) as line
         from tandem.journal where move = '${move}' order by xmin::text, seq) t
      where line not in ('note', 'alarm') order by seq`,
  );
  return [...new Set(rows.map(({ line }) => line))];
}
