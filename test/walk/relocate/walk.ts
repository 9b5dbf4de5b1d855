import { setCohort } from '../../../activities/services/cohorts.ts';
import { openSite } from '../../../activities/services/site.ts';
import { usersOfShare } from '../../../ops/cohort-users.ts';
import { readConfiguration } from '../../../ops/config/configuration.ts';
import { settingsFor } from '../../../ops/config/settings.ts';
import { moveHandle } from '../../../ops/moves.ts';
import { sql } from '../../rig/sql.ts';
import { accidents, happen, moments, type Accident, type Moment } from '../failover/accidents.ts';
import { Gate } from '../failover/gate.ts';
import { Operators } from '../failover/operators.ts';
import { linesOf, requireSame } from '../failover/walk.ts';
import { LOST, SURVIVOR, type World } from '../failover/world.ts';
import { makeArchive, notBrought, say } from './archive.ts';
import { lose, losses, type Loss } from './destination.ts';
import { endOf, sites, type End } from './judge.ts';
import { Writer } from './writer.ts';

/** Of one move, with everything that happens to it. */
const MOVE_LIMIT_MS = 240_000;
const PILOT_PERCENT = 20;

const nothing = (): Promise<void> => Promise.resolve();

const HALF = SURVIVOR;
const PILOT = `${HALF}/pilot`;

/** Whose users move, and where the other group of that home is meanwhile. */
const ways = {
  relocate: { half: HALF, from: SURVIVOR, to: LOST, pilot: null },
  failback: { half: HALF, from: LOST, to: SURVIVOR, pilot: null },
  cohort: { half: PILOT, from: SURVIVOR, to: LOST, pilot: SURVIVOR },
  'cohort-rest': { half: HALF, from: SURVIVOR, to: LOST, pilot: LOST },
} as const;
export type Way = keyof typeof ways;

/** What the move does in the destination's database, each with the line of the journal that comes before it. */
export const told = {
  'destination-applied': { after: 'slot', gate: 'applied' },
  'destination-follow': { after: 'effect-copy', gate: 'follow' },
  'destination-last': { after: 'effect-drain', gate: 'applied' },
  'destination-given': { after: 'effect-last', gate: 'given' },
} as const;

/** A line of the journal of the site where the move runs, or the slot; or what is done in the destination's database. */
export type Point =
  | { line: string; accident: Accident; moment: Moment }
  | { told: keyof typeof told; loss: Loss; moment: Moment };

export const nameOf = (point: Point): string =>
  'told' in point ? `${point.told}/${point.loss}/${point.moment}` : `${point.line}/${point.accident}/${point.moment}`;

/** A move to which nothing happened: what it wrote, and how it ended. */
export interface Course {
  lines: string[];
  end: End;
}

/** Those of the way home are what it alone writes, and the hand-over; those of a cohort, what tells it from a half. */
export function pointsOf(way: Way, lines: readonly string[]): Point[] {
  if (ways[way].pilot !== null) return cohortPoints;
  const own =
    way === 'relocate' ? lines : lines.filter((line) => /^effect-(salvage|contacts|merged|serve)$/.test(line));
  const all = [...accidents, 'postgres'] as const;
  return [
    ...own.flatMap((line) => all.flatMap((accident) => moments.map((moment) => ({ line, accident, moment })))),
    ...(Object.keys(told) as (keyof typeof told)[]).flatMap((what) =>
      losses.flatMap((loss) => moments.map((moment) => ({ told: what, loss, moment }))),
    ),
  ];
}

const cohortPoints: Point[] = [
  { line: 'effect-epoch', accident: 'worker', moment: 'before' },
  { line: 'effect-drain', accident: 'postgres', moment: 'after' },
  { line: 'effect-serve', accident: 'worker', moment: 'before' },
  { line: 'effect-serve', accident: 'databases', moment: 'after' },
  { told: 'destination-follow', loss: 'worker', moment: 'after' },
  { told: 'destination-given', loss: 'destination-worker', moment: 'before' },
  { told: 'destination-given', loss: 'destination-postgres', moment: 'after' },
];

/** Users of one half go to the other site and home again, on two sites that are both there. */
export class PlannedWalk {
  private readonly world: World;
  private readonly gates: Record<string, Gate>;
  private divided = false;

  private constructor(world: World, gates: Record<string, Gate>) {
    this.world = world;
    this.gates = gates;
  }

  static async open(world: World): Promise<PlannedWalk> {
    await world.fill();
    await world.cover(SURVIVOR, LOST);
    await world.cover(LOST, SURVIVOR);
    for (const site of sites) await makeArchive(world.urlOf(site));
    const gates: Record<string, Gate> = {};
    for (const site of sites) gates[site] = await Gate.open(world.urlOf(site));
    return new PlannedWalk(world, gates);
  }

  /** One move in peace; throws when even then something is lost, or served twice. */
  async course(way: Way): Promise<Course> {
    await this.bring(way);
    const { move, end, wrongly } = await this.move(way, null, nothing);
    if (wrongly.length > 0) throw new Error(`in peace: ${wrongly.join('; ')}`);
    return { lines: ['slot', ...(await linesOf(this.world.urlOf(ways[way].from), move))], end };
  }

  /** Throws with what is not as it is in peace. Points come in the order in which the move does. */
  async try(way: Way, inPeace: End, ...points: readonly Point[]): Promise<void> {
    await this.bring(way);
    const [first] = points;
    if (first) await this.arm(way, first);
    const { end, wrongly } = await this.move(way, inPeace, async (operators, look) => {
      for (const point of points) {
        if (point !== first) await this.arm(way, point);
        await this.strike(way, point, operators, look);
      }
    });
    if (wrongly.length > 0) throw new Error(wrongly.join('; '));
    requireSame(end, inPeace);
  }

  /** After a try that went wrong: nothing is held, and nobody holds a slot. */
  async clear(): Promise<void> {
    const { world } = this;
    await world.mend([...sites]);
    for (const gate of Object.values(this.gates)) await gate.reopen();
    for (const site of sites) {
      const client = await world.client(site);
      await moveHandle(client, 'relocate', world.customer)
        .terminate('the try went wrong')
        .catch(() => undefined); // It had ended, or Temporal has lost it.
      await client.connection.close();
      const ended = "update tandem.move set phase = 'aborted', ended_at = now() where ended_at is null";
      await sql(world.urlOf(site), ended);
    }
  }

  async close(): Promise<void> {
    for (const gate of Object.values(this.gates)) await gate.close();
  }

  private gate(site: string): Gate {
    const gate = this.gates[site];
    if (!gate) throw new Error(`no gate at ${site}`);
    return gate;
  }

  private arm(way: Way, point: Point): Promise<void> {
    return this.gate(ways[way].from).arm('told' in point ? told[point.told].after : point.line);
  }

  private async strike(way: Way, point: Point, operators: Operators, look: () => Promise<void>): Promise<void> {
    const { from, to } = ways[way];
    const scene = { world: this.world, operators, site: from, sites: [...sites] };
    const gate = this.gate(from);
    await gate.untilHeld();
    await look();
    if ('told' in point) {
      const there = this.gate(to);
      await there.arm(told[point.told].gate);
      await gate.letGo();
      await there.untilHeld();
      await look();
      await operators.without(() => lose({ ...scene, gate: there, destination: to }, point.loss, point.moment));
    } else {
      await operators.without(async () => {
        await happen({ ...scene, gate }, point.accident, point.moment);
        if (point.accident === 'databases') await operators.goOn();
      });
    }
    await look();
  }

  /** In peace, when they are not where the way begins. */
  private async bring(way: Way): Promise<void> {
    const { from, pilot } = ways[way];
    if (pilot !== null && !this.divided) await this.divide();
    if (!(await this.areAt(HALF, from))) await this.move(from === HALF ? 'failback' : 'relocate', null, nothing);
    if (pilot === LOST && !(await this.areAt(PILOT, LOST))) await this.move('cohort', null, nothing);
    // It goes home alone, or has come home with its half.
    if (pilot === SURVIVOR && !(await this.areAt(PILOT, SURVIVOR))) await this.move('cohort', null, nothing, true);
  }

  private async areAt(half: string, site: string): Promise<boolean> {
    const here = `select from tandem.serving where half = '${half}' and site = '${site}'`;
    return (await sql(this.world.urlOf(site), here)).length > 0;
  }

  /** Takes a part of the half into a cohort, at home. */
  private async divide(): Promise<void> {
    const { customer, stack } = this.world;
    if (!(await this.areAt(HALF, HALF))) await this.move('failback', null, nothing);
    const configuration = await readConfiguration(stack.configuration);
    const site = openSite(await settingsFor(configuration, HALF, { reportsFolder: stack.folder }));
    try {
      const of = { share: PILOT_PERCENT, probes: new Map<string, string>() };
      const names = await usersOfShare(site.database(customer), PILOT, of);
      await setCohort(site, site.customer(customer), { half: PILOT, names });
    } finally {
      await site.close();
    }
    this.divided = true;
  }

  /** Asks for a move and brings it to its end, while `meanwhile` does what it does. */
  private async move(
    way: Way,
    wanted: End | null,
    meanwhile: (operators: Operators, look: () => Promise<void>) => Promise<void>,
    back = false,
  ): Promise<{ move: string; end: End; wrongly: string[] }> {
    const { world } = this;
    const { half } = ways[way];
    const { from, to } = back ? { from: ways[way].to, to: ways[way].from } : ways[way];
    const signal = AbortSignal.timeout(MOVE_LIMIT_MS);
    const client = await world.client(from);
    const urls = { from: world.urlOf(from), to: world.urlOf(to) };
    await say(urls.from, half);
    const writer = await Writer.start(urls, half);
    try {
      const { customer } = world;
      const input = { customer, half, from, to, reason: 'a walk', requestedBy: 'operator-1' };
      const operators = new Operators(world, client, { site: from, workflow: 'relocate', input });
      await operators.declare();
      await operators.bringToEnd(signal, () => meanwhile(operators, () => writer.look()));
      await writer.stop();
      const { move } = operators;
      const end = await endOf(world, { move, half, from, to }, wanted, signal);
      const lost = await writer.lostAt(urls.to);
      const unbrought = await notBrought(urls, half);
      return { move, end, wrongly: [...operators.askedWrongly(), ...writer.servedTwice(), ...lost, ...unbrought] };
    } finally {
      await writer.stop();
      await client.connection.close();
    }
  }
}
