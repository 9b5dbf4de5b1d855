import { failureText } from '../../workflows/model/failures.ts';
import { homeOf } from '../../workflows/model/half.ts';
import type { ConflictRule, Reconciliation } from '../../workflows/model/planned-move.ts';
import type { CustomerSettings } from '../settings.ts';
import { lookInVaults, notSalvagedYet, readPeerSalvages, withoutBase, type Began } from './salvage-there.ts';
import type { OwnSite } from './site.ts';

export interface FoundReconciliation {
  /** Null: the peer has nothing of these users that is not here, or `why` tells what is in the way. */
  reconcile: Reconciliation | null;
  /** Why the plan must not go on; null when it may. */
  why: string | null;
  /** What whoever signs should know, and what is no reason not to. */
  notes: string[];
  /** Of the salvage. */
  counts?: { users: number; contacts: number; aclItems: number };
}

/**
 * What the peer alone has of these halves, from when it served them last, and the snapshot from which both sides began: the newest
 * salvage there that nobody has released, and what the failover that brought the users here had restored. Changes nothing.
 */
export async function findReconciliation(
  site: OwnSite,
  customer: CustomerSettings,
  halves: readonly string[],
  rule: ConflictRule,
  signal?: AbortSignal,
): Promise<FoundReconciliation> {
  const stop = (why: string): FoundReconciliation => ({ reconcile: null, why, notes: [] });
  const half = halves.join(' and ');
  try {
    const [newest, ...older] = await readPeerSalvages(customer, halves, signal);
    if (!newest) return { reconcile: null, why: null, notes: [] };
    const due = [newest, ...older].find(({ manifest }) => manifest === null);
    if (due) return stop(notSalvagedYet(customer, due));
    // One document has all who were served under its epoch; of another epoch are others.
    const apart = halves.filter((one) => !newest.halves.includes(one));
    if (apart.some((one) => older.some((salvage) => salvage.halves.includes(one))))
      return stop(
        `${customer.peer} served ${newest.halves.join(' and ')} under epoch ${newest.epoch}, and ${apart.join(' and ')} under another: each cohort comes home on its own first, with \`--half\``,
      );
    const { epoch } = newest;
    const manifest = newest.manifest ?? '';
    const { salvage, began } = await lookInVaults(site, customer, { halves, epoch, manifest }, signal);
    const { base, why } = sameForAll(halves, [...began.values()]);
    const { users, contacts, aclItems } = salvage.counts;
    const also = older.map(
      (one) =>
        `what ${customer.peer} alone had of ${half} under epoch ${one.epoch} is not brought together by this move`,
    );
    const suspect = salvage.suspect === null ? [] : [suspectNote(salvage.suspect)];
    return {
      reconcile: { rule: ruleFor(rule, halves, customer.peer), salvage: { epoch, manifest }, base },
      why: null,
      notes: [...suspect, ...(why === null ? [] : [withoutBase(why)]), ...also],
      counts: { users, contacts, aclItems },
    };
  } catch (error) {
    signal?.throwIfAborted();
    return stop(`what ${customer.peer} alone has of ${half} is not known: ${failureText(error)}`);
  }
}

/** Of a suspect salvage, for people. */
export const NO_REMOVALS = 'nothing that is missing there counts as removed';
export const suspectNote = (because: string): string => `the salvage is suspect (${because}): ${NO_REMOVALS}`;

/** `home` is the destination's side, where that is their home; else it is the side on which they are. */
export const ruleFor = (rule: ConflictRule, halves: readonly string[], peer: string): ConflictRule =>
  rule === 'home' && halves.every((half) => homeOf(half) !== peer) ? 'survivor' : rule;

function sameForAll(halves: readonly string[], [first, ...others]: readonly Began[]): Began {
  if (others.some(({ base }) => base?.manifest !== first?.base?.manifest))
    throw new Error(
      `users of ${halves.join(' and ')} were restored by different moves: each cohort comes home on its own first, with \`--half\``,
    );
  return first ?? { base: null, why: null };
}
