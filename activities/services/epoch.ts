import type { StepResult } from '../../workflows/model/moves.ts';
import type { Isolation } from '../../workflows/model/plan.ts';
import { failure } from '../../workflows/model/failures.ts';
import { whyWorse } from '../../workflows/model/verdict.ts';
import { observeSource } from '../probes/source.ts';
import { advancePlanned } from './advance-planned.ts';
import { claimInStores, noteClaims } from './claims.ts';
import { doneBefore, noteEffect } from './effects.ts';
import { refuseForked } from './fork.ts';
import { lookForLostHandOvers } from './lost-hand-over.ts';
import type { PlannedStep } from './planned.ts';
import type { OwnSite } from './site.ts';
import {
  claimedInWitness,
  newerThanHeld,
  refuseForkAt,
  refuseNewerPeer,
  takeEpoch,
  whereClaimed,
} from './take-epoch.ts';

/**
 * Claims the plan's epoch in every store that can be reached: this site's vault, the witness and the customer's zone, then
 * its database, which is locked meanwhile. The world is looked at once more before: what people signed must still hold.
 * After it every store here refuses what an older move tries to do. A store that is away stops nothing: it is told, and the
 * claim is written there later.
 */
export async function advanceEpoch(site: OwnSite, input: PlannedStep, signal?: AbortSignal): Promise<StepResult> {
  const { key, plan } = input;
  const { planned } = plan.decisions;
  if (planned) return advancePlanned(site, input, planned, signal);
  const { customer: id, epoch } = key;
  const customer = site.customer(id);
  const database = site.database(id);
  const done = await doneBefore(database, input);
  if (done) return done;
  await database.connection((client) => refuseForked(client, id));
  const [seen, inWitness] = await Promise.all([
    observeSource(site.settings, customer, signal),
    claimedInWitness(site, customer, signal),
    // What goes along with the epoch is never what the peer has been given under the last one.
    lookForLostHandOvers(database, customer, signal),
  ]);
  const worse = whyWorse(plan.decisions.isolation, seen.observers);
  if (worse !== null) throw failure('world-worse', `${id}: ${customer.peer} ${worse}; nothing has been changed`);
  refuseNewerPeer(customer, seen, epoch);
  const byPeer = seen.epoch?.site === customer.peer ? seen.epoch.number : 0;
  const claimedByPeer = Math.max(byPeer, seen.claimed, inWitness);
  return database.transaction(async (client) => {
    // A stale run does not even burn a number; and of one site's moves only one at a time claims.
    const held = await newerThanHeld(client, id, epoch);
    refuseForkAt(customer, held, seen.epoch);
    const claims = await claimInStores(site, id, epoch, signal);
    const restamped =
      held === null ? 0 : await takeEpoch(client, id, { own: site.settings.site, held, epoch, claimedByPeer });
    await noteClaims(client, id, epoch, claims);
    const where = whereClaimed(claims, epoch);
    return noteEffect(client, input, {
      summary: `epoch ${epoch.number} is claimed in ${where.claimedIn}${where.not}; ${customer.peer}: ${told(seen.observers)}`,
      facts: {
        epoch: epoch.number,
        before: held?.number ?? epoch.number,
        keptOpen: restamped,
        claimedIn: where.claimedIn,
        ...(where.missing && { notClaimedIn: where.missing }),
      },
      ...(where.alarms.length > 0 && { alarms: where.alarms }),
    });
  });
}

const told = (observers: Isolation['observers']): string => observers.map((o) => `${o.name} ${o.saw}`).join(', ');
