import { setTimeout as pause } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { compareWitness, makeWitness } from '../../../ops/embedded/demo/witness.ts';
import { sql } from '../../rig/sql.ts';
import { effectsOf, faultsOf } from '../failover/judge.ts';
import { LOST, SURVIVOR, type World } from '../failover/world.ts';

export const sites = [LOST, SURVIVOR] as const;

/** What a planned move that has ended left at a site. */
interface Side {
  /** Who may serve which half, as its own database has it; `old` under an epoch before its newest. */
  rights: string[];
  drained: number;
  /** Halves of which something is to be salvaged. */
  due: number;
  /** Users of the half whom it serves. */
  serves: number;
}

/** As far as it must be the same whatever happened to it. */
export interface End {
  outcome: string;
  sides: Record<string, Side>;
  /** Whether both sites hold the same one. */
  oneEpoch: boolean;
  /** Rows in which the sites differ. */
  differences: number;
  effects: string[];
  evidence: string[];
}

/** What the watch of a site has yet to do then, it does within seconds. */
const SETTLED_MS = 30_000;
const LOOK_MS = 200;

export interface Ended {
  move: string;
  half: string;
  from: string;
  to: string;
}

/** Waits a while for what is still under way where it is not as `wanted`. */
export async function endOf(world: World, of: Ended, wanted: End | null, signal: AbortSignal): Promise<End> {
  for (const deadline = Date.now() + SETTLED_MS; ; await pause(LOOK_MS)) {
    const end = await lookAt(world, of, signal);
    if (wanted === null || isDeepStrictEqual(end, wanted) || Date.now() > deadline) return end;
  }
}

async function lookAt(world: World, { move, half, from, to }: Ended, signal: AbortSignal): Promise<End> {
  const [row] = await sql<{ phase: string }>(world.urlOf(from), `select phase from tandem.move where move = '${move}'`);
  const epochs = await Promise.all(
    sites.map((site) =>
      sql<{ epoch: string }>(
        world.urlOf(site),
        `select concat_ws(' ', customer, number, site, move) as epoch from tandem.epoch`,
      ),
    ),
  );
  const sides: Record<string, Side> = {};
  for (const site of sites) sides[site] = await sideOf(world, site, half);
  await makeWitness(world.urlOf(from), world.urlOf(to), ...sites);
  return {
    outcome: row?.phase ?? 'unknown',
    sides,
    oneEpoch: isDeepStrictEqual(epochs[0], epochs[1]),
    differences: await compareWitness(world.urlOf(to), ...sites),
    effects: await effectsOf(world.urlOf(from), move),
    evidence: await faultsOf(world, { site: from, move }, signal),
  };
}

async function sideOf(world: World, site: string, half: string): Promise<Side> {
  const [side] = await sql<Side>(
    world.urlOf(site),
    `select (select json_agg(s.half || ' at ' || s.site || case when s.epoch = e.number then '' else ', old' end order by s.half)
               from tandem.serving s join tandem.epoch e using (customer)) as rights,
            (select count(*) from tandem.drained)::int as drained,
            (select count(*) from tandem.observe_salvage() where manifest is null and not released)::int as due,
            (select count(*) from tandem.home where site = '${half}' and tandem.may_serve(username))::int as serves`,
  );
  if (!side) throw new Error(`nothing to be seen at ${site}`);
  return side;
}
