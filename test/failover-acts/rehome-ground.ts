import { drainSessions } from '../../activities/services/drain.ts';
import { advanceEpoch } from '../../activities/services/epoch.ts';
import { rehomeUsers } from '../../activities/services/rehome.ts';
import { serveUsers } from '../../activities/services/serve.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import type { PlannedStep } from '../../activities/services/planned.ts';
import type { Act } from '../../workflows/model/acts.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import type { PlannedMove } from '../../workflows/model/planned-move.ts';
import type { Site } from '../rig/databases.ts';
import { copyNow, plannedStep, quietWest, servedAt } from './planned-world.ts';
import { kindOf, makeWorld, startMove, type World } from './world.ts';

/** A planned move of users of west to east, who are to be at home there. */

export const PILOT = 'west/pilot';
export const EAST = ['e1', 'e2', 'e3'];
export const ofWest: PlannedMove = { half: 'west', keeps: ['east'], servedAt: ['east'], reconcile: null, rehome: true };
export const ofPilot: PlannedMove = { ...ofWest, half: PILOT, servedAt: ['east', 'west'] };

interface Change {
  round?: number;
  epoch?: number;
  cohorts?: string[];
}

export interface Ground {
  world: World;
  west: OwnSite;
  at: (site: Site, sql: string) => Promise<Record<string, unknown>[]>;
  /** Whom each site serves. */
  both: () => Promise<string[][]>;
  /** `name: half` of west's users, by each database. */
  homes: () => Promise<string[]>;
  step: (planned: PlannedMove, change?: Change) => PlannedStep;
  rehome: (planned?: PlannedMove, change?: Change) => Promise<StepResult>;
  /** West's users, or some of them, have been handed to east, and are covered there. */
  moved: (planned?: PlannedMove, cohorts?: string[]) => Promise<void>;
  /** West dies when its peer has committed, and before it has itself. */
  cutOff: (planned?: PlannedMove) => Promise<void>;
}

export async function rehomeGround(): Promise<Ground> {
  const world = await makeWorld();
  const west = quietWest(world);
  const at = (site: Site, sql: string): Promise<Record<string, unknown>[]> =>
    (site === 'east' ? world.eastDb : world.westDb).query(sql);
  let move = '';
  const step = (planned: PlannedMove, { round = 0, epoch = 2, cohorts }: Change = {}): PlannedStep =>
    plannedStep('rehome-users', move, { planned, round, epoch, ...(cohorts && { cohorts }) });
  const rehome = (planned = ofWest, change: Change = {}): Promise<StepResult> =>
    rehomeUsers(west, step(planned, change));
  const homesAt = async (site: Site): Promise<string> => {
    const rows = await at(site, "select username, site from tandem.home where username like 'w%' order by 1");
    return rows.map(({ username, site: half }) => `${String(username)}: ${String(half)}`).join(' ');
  };
  return {
    world,
    west,
    at,
    step,
    rehome,
    both: async () => [await servedAt(world, 'east'), await servedAt(world, 'west')],
    homes: async () => [await homesAt('east'), await homesAt('west')],
    async moved(planned = ofWest, cohorts) {
      move = await startMove(world);
      const of = (act: Act) => plannedStep(act, move, { planned, ...(cohorts && { cohorts }) });
      await advanceEpoch(west, of('advance-epoch'));
      await drainSessions(west, of('drain-sessions'));
      await copyNow(world);
      await serveUsers(west, of('serve-users'));
      // East's copy of whoever it serves now has come to west.
      await at(
        'west',
        `insert into tandem.ledger (username, served_by, gen, seq, record_id, epoch) select username, 'east', 1, 9, '', 2 from tandem.home
         on conflict (username) do update set served_by = 'east', epoch = excluded.epoch`,
      );
    },
    async cutOff(planned = ofWest) {
      await at('west', 'alter table tandem.journal add constraint cut check (false) not valid');
      await kindOf(rehome(planned));
      await at('west', 'alter table tandem.journal drop constraint cut');
    },
  };
}
