import { failure } from '../../workflows/model/failures.ts';
import { halvesOf } from '../../workflows/model/plan.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import { appliedSnapshot } from '../contacts/applied.ts';
import { lockEpoch } from '../contacts/restore.ts';
import {
  eachOfStandby,
  judgeStandby,
  proveStandby,
  type StandbyProof,
  type StandbyState,
} from '../contacts/standby-proof.ts';
import type { AsOf, LedgerBuilder, UserFate } from '../journal/recovery.ts';
import type { PlannedStep } from './planned.ts';
import type { OwnSite } from './site.ts';

/** A plan whose source is the standby copy: nothing is fetched and no vault is read, the ledger tells what stands. */

/**
 * Proves that the users of the lost half are as of the plan's snapshot, and counts those who are not. What is not cannot
 * be mended here: it is told, and left as it stands. `no-recovery-point` when the copy is older than what was signed, or
 * holds nobody.
 */
export async function restoreFromStandby(
  site: OwnSite,
  { key, plan }: PlannedStep,
  ledger: LedgerBuilder | null,
  signal: AbortSignal,
): Promise<StepResult & { asOf: AsOf }> {
  const { customer, epoch } = key;
  const { decisions, source } = plan;
  const database = site.database(customer);
  const { keys, peer } = site.customer(customer);
  const applied = await appliedSnapshot(database, customer, peer);
  if (
    !applied?.point ||
    applied.seq < source.snapshot.seq ||
    Date.parse(applied.point) < Date.parse(decisions.recoveryPoint)
  )
    throw failure(
      'no-recovery-point',
      `standby copy of ${customer}: of ${applied?.point ?? 'no known time'}, older than ${decisions.recoveryPoint}, which was signed`,
    );
  const halves = halvesOf(decisions);
  const guard = (client: Parameters<typeof lockEpoch>[0]): Promise<void> =>
    lockEpoch(client, database.name, customer, epoch);
  await judgeStandby({ database, keys, halves }, guard, signal);
  const by = { site: site.settings.site, epoch: epoch.number };
  const proven = { database, keys, halves, snapshot: applied, by };
  const proof = await proveStandby(proven);
  const { users, asOf, since, unproven } = proof;
  if (users > 0 && asOf + since + unproven === 0)
    throw failure(
      'no-recovery-point',
      `standby copy of ${customer}: the ledger knows none of ${users} users of ${halves.join(' and ')}`,
    );
  if (ledger) await eachOfStandby(proven, (name, state) => ledger.add(name, fateOfState[state]), signal);
  const { contacts, groups, aclItems, changed, withoutRecord, quarantined } = proof;
  const held = proof.unrecorded + proof.elsewhere;
  const counts = { users: asOf, written: 0, contacts, groups, aclItems, removed: 0, held, conflicts: 0, quarantined };
  return {
    summary: `${asOf} users are as of ${applied.point}, by the ledger of the standby copy: no vault was read${exceptions(proof)}`,
    facts: { ...counts, changed, withoutRecord, unproven, newer: proof.newer, since, vault: 'none' },
    asOf: { snapshot: applied, point: applied.point },
  };
}

const fateOfState: Record<StandbyState, UserFate> = {
  'as-of': 'as-of',
  since: 'as-of',
  unproven: 'unproven',
  without: 'no-snapshot',
  changed: 'held',
  elsewhere: 'held',
  unrecorded: 'held',
};

/** What is not as of the snapshot, as people say it; empty when all is. */
function exceptions(proof: StandbyProof): string {
  const { newer, changed, elsewhere, unrecorded, withoutRecord, unproven, since, quarantined } = proof;
  const told: [number, string][] = [
    [newer, 'of them newer'],
    [changed, 'differ from what came, and stay as they stand'],
    [elsewhere, 'came from another site, and stay as they stand'],
    [unrecorded, 'have rows that no snapshot brought'],
    [withoutRecord, 'have no record'],
    [unproven, 'came with it, and nobody can tell whether they were changed since: the key of their digests is gone'],
    [since, 'are served here already'],
    [quarantined, 'are in quarantine, see `tandem quarantine list`'],
  ];
  return told.flatMap(([n, text]) => (n > 0 ? [`; ${n} ${text}`] : [])).join('');
}

/** What a probe finds of the moved users' rows without a vault. Users, but for the last two, which are rows. */
export interface LedgerComparison {
  compared: number;
  /** Came from another site. */
  differing: number;
  /** Their rows are not those that the ledger was written for. */
  changed: number;
  unproven: number;
  contacts: number;
  aclItems: number;
}

/** Compares the rows of the lost half with the digests of the ledger, which were made when the snapshot was applied. */
export async function compareWithLedger(site: OwnSite, { key, plan }: PlannedStep): Promise<LedgerComparison> {
  const { keys } = site.customer(key.customer);
  const { changed, elsewhere, unproven, asOf, contacts, aclItems } = await proveStandby({
    database: site.database(key.customer),
    keys,
    halves: halvesOf(plan.decisions),
    snapshot: plan.source.snapshot,
    by: { site: site.settings.site, epoch: key.epoch.number },
  });
  return { compared: asOf + changed + elsewhere, differing: elsewhere, changed, unproven, contacts, aclItems };
}
