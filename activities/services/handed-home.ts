import { failureText } from '../../workflows/model/failures.ts';
import { halvesOf } from '../../workflows/model/plan.ts';
import { broughtTogether } from '../../workflows/model/planned-move.ts';
import { releaseAtPeer, releaseStayedAtPeer, rightAtPeer } from './peer-functions.ts';
import type { PlannedStep } from './planned.ts';
import type { OwnSite } from './site.ts';

/** What is looked at, and let go, once halves were handed over. */

/**
 * Users are home, with what both sites had, and so are those who stayed: the destination's salvage of them is needed no more. Why it is
 * kept, for people; else null.
 */
export async function releaseReconciled(
  site: OwnSite,
  { key, plan }: PlannedStep,
  signal: AbortSignal | undefined,
): Promise<string | null> {
  const all = broughtTogether(plan.decisions);
  if (all.length === 0) return null;
  const stayed = plan.decisions.planned?.stayed ?? [];
  const customer = site.customer(key.customer);
  const told = all.flatMap(({ halves }) => halves).join(' and ');
  const merged = await site.database(key.customer).query(
    `select from tandem.journal where move = $1 and kind = 'step' and key like 'effect/%'
                                  and body::jsonb ->> 'act' = 'reconcile-contacts' limit 1`,
    [key.epoch.move],
  );
  if (merged.length === 0)
    return `what ${customer.peer} alone had of ${told} was not brought together: its salvage is kept there`;
  try {
    for (const one of all) {
      const { epoch } = one.reconcile.salvage;
      const release = stayed.includes(one) ? releaseStayedAtPeer : releaseAtPeer;
      for (const half of one.halves) await release(customer, half, epoch, signal);
    }
    return null;
  } catch (error) {
    signal?.throwIfAborted();
    return `the salvage of ${told} is kept at ${customer.peer}: ${failureText(error)}`;
  }
}

/** For `done`, by the destination's own database: whether it serves the halves under this move's epoch. */
export async function handedOver(
  site: OwnSite,
  { key, plan }: PlannedStep,
  signal: AbortSignal,
): Promise<{ seen: boolean; summary: string }> {
  const { to } = plan.decisions;
  let all = true;
  const told: string[] = [];
  for (const half of halvesOf(plan.decisions)) {
    const right = await rightAtPeer(site.customer(key.customer), half, { signal });
    all &&= right?.site === to && right.epoch === key.epoch.number && right.open;
    const may = right ? `${right.site} may serve them under epoch ${right.epoch}` : 'nobody may serve them there';
    told.push(`users of ${half}: ${may}${right?.open === false ? ', and does not' : ''}`);
  }
  return { seen: all, summary: told.join('; ') };
}
