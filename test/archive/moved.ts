import { reconcileArchive, type Sizes } from '../../activities/archive/act.ts';
import type { PlannedStep } from '../../activities/services/planned.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import { plannedStep } from '../failover-acts/planned-world.ts';
import { makeWorld, startMove, type World } from '../failover-acts/world.ts';
import { PostgresProxy } from '../rig/postgres-proxy.ts';
import { Tripwire } from '../rig/tripwire.ts';
import { ARCHIVE, archived, fill, type Archived } from './ground.ts';

/** Users of west were served at west, and are served at east since the hand-over of a move that west runs, under epoch 2. */
export interface Moved {
  world: World;
  /** How far each attempt has said to have come. */
  beats: Record<string, number>[];
  step(change?: { round?: number; timeoutMs?: number; cohorts?: string[]; id?: string }): PlannedStep;
  bring(change?: Change): Promise<StepResult>;
  /** Archives so many messages of a user at west. */
  here(rows: number, user?: string, ageDays?: number): Promise<void>;
  /** What is archived at east. */
  there(): Promise<Archived[]>;
  /** West, which reaches east by a wire that is cut at the n-th batch, before or after that is done. */
  cutAt(n: number, when: 'before' | 'after'): Promise<{ site: OwnSite; wire: Tripwire; close: () => Promise<void> }>;
}

interface Change {
  site?: OwnSite;
  step?: PlannedStep;
  signal?: AbortSignal;
  sizes?: Sizes;
  heartbeat?: () => void;
}

/** So that a few rows are several windows of several batches. */
export const small: Sizes = { window: 10, batch: 3 };

export async function openMoved(): Promise<Moved> {
  const world = await makeWorld();
  const move = await startMove(world);
  for (const database of [world.eastDb, world.westDb]) {
    await database.query(ARCHIVE);
    await database.query(`update tandem.epoch set number = 2, site = 'west', move = '${move}'`);
    await database.query(`update tandem.serving set site = 'east', epoch = 2`);
  }
  const beats: Moved['beats'] = [];
  const step: Moved['step'] = ({ round = 0, timeoutMs = 60_000, cohorts, id } = {}) => {
    const { key, plan, ...rest } = plannedStep('reconcile-archive', move, { round, ...(cohorts && { cohorts }) });
    const steps = plan.decisions.steps.map((one) => ({ ...one, timeoutMs }));
    return {
      ...rest,
      key: { ...key, step: id ?? key.step },
      plan: { ...plan, decisions: { ...plan.decisions, steps } },
    };
  };
  return {
    world,
    beats,
    step,
    bring: ({ site = world.west, step: of = step(), signal, sizes = small, heartbeat } = {}) =>
      reconcileArchive(
        site,
        of,
        {
          signal: signal ?? new AbortController().signal,
          heartbeat(beat) {
            beats.push(beat);
            heartbeat?.();
          },
        },
        sizes,
      ),
    here: (rows, user = 'w1', ageDays = 1) => fill(world.westDb, { rows, user, ageDays }),
    there: () => archived(world.eastDb),
    async cutAt(n, when) {
      const wire = new Tripwire();
      const peer = await PostgresProxy.open(world.customer.peerDatabaseUrl, wire);
      let batches = 0;
      wire.next = (call) => {
        wire.calls.push(call);
        if (call.includes('tandem.take_archive')) batches += 1;
        return call.includes('tandem.take_archive') && batches === n ? { when, strike: () => void peer.close() } : null;
      };
      const site = world.westWith({ customer: { peerDatabaseUrl: peer.through(world.customer.peerDatabaseUrl) } });
      return { site, wire, close: () => peer.close().catch(() => undefined) };
    },
  };
}
