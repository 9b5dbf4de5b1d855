import type { ConflictRule, Reconciliation } from '../../workflows/model/planned-move.ts';
import type { CustomerSettings } from '../settings.ts';
import type { OwnSite } from './site.ts';

/** What of a half the peer alone has, and how it is brought together with what is here. */
export function findReconciliation(
  _site: OwnSite,
  _customer: CustomerSettings,
  half: string,
  _rule: ConflictRule,
  _signal?: AbortSignal,
): Promise<{ reconcile: Reconciliation | null; why: string | null }> {
  return Promise.resolve({ reconcile: null, why: `this version does not look for unsent changes of ${half}` });
}
