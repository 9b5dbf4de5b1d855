import { failureKind, failureText, type FailureKind } from '../../workflows/model/failures.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import type { RecoverySource } from '../../workflows/model/plan.ts';
import { lockEpoch, restoreSnapshot } from '../contacts/restore.ts';
import { doneBefore, noteEffect } from './effects.ts';
import type { OwnSite } from './site.ts';
import { withPlannedSnapshot } from './snapshot.ts';
import type { PlannedStep } from './planned.ts';
import { restoreFromStandby } from './standby.ts';

export interface LongWork {
  heartbeat: (progress: Record<string, number>) => void;
  signal: AbortSignal;
}

/**
 * Brings contacts and ACLs of the lost half to the plan's snapshot, in transactions that lock the step's epoch first. A
 * repeat finds what is done equal, and only writes the rest. From the standby copy nothing is brought: it is proven.
 */
export async function restoreContacts(
  site: OwnSite,
  input: PlannedStep,
  { heartbeat, signal }: LongWork,
): Promise<StepResult> {
  const { key } = input;
  const database = site.database(key.customer);
  const done = await doneBefore(database, input);
  if (done) return done;
  // A step of an old move is refused before anything is fetched.
  await database.transaction((client) => lockEpoch(client, database.name, key.customer, key.epoch));
  const result = await bring(site, input, { heartbeat, signal });
  return database.transaction(async (client) => {
    await lockEpoch(client, database.name, key.customer, key.epoch);
    return noteEffect(client, input, result);
  });
}

/** Faults of a source that another source does not have. */
const sourceFaults: readonly (FailureKind | undefined)[] = [
  'source-unreachable',
  'vault-unreachable',
  'vault-refused',
  'no-recovery-point',
  'snapshot-damaged',
  'snapshot-format',
  'signature-invalid',
];

/**
 * From the plan's source; when that is the lost site's vault and it fails, from the one that the plan names instead, which
 * is as new as people have signed. All users are then as of that one.
 */
async function bring(site: OwnSite, input: PlannedStep, work: LongWork): Promise<StepResult> {
  const { source, fallback } = input.plan;
  try {
    return await bringFrom(site, input, source, work);
  } catch (error) {
    if (!fallback || work.signal.aborted || !sourceFaults.includes(failureKind(error))) throw error;
    const { summary, facts } = await bringFrom(site, input, fallback, work);
    return { summary: `${summary}; not from ${source.from}: ${failureText(error)}`, facts };
  }
}

async function bringFrom(
  site: OwnSite,
  { key, act, plan }: PlannedStep,
  source: RecoverySource,
  work: LongWork,
): Promise<StepResult> {
  const input = { key, act, plan: { ...plan, source } };
  const { summary, facts } =
    source.from === 'standby-copy'
      ? await restoreFromStandby(site, input, work.signal)
      : await restoreFromVault(site, input, work);
  return { summary, facts: { ...facts, from: source.from } };
}

async function restoreFromVault(
  site: OwnSite,
  { key, plan }: PlannedStep,
  { heartbeat, signal: asked }: LongWork,
): Promise<StepResult> {
  const database = site.database(key.customer);
  return withPlannedSnapshot(site, plan, asked, async ({ opened, signal }) => {
    const { written, users, ...counts } = await restoreSnapshot({
      database,
      snapshot: opened,
      half: plan.decisions.from,
      guard: { customer: key.customer, epoch: key.epoch },
      ledger: { snapshot: plan.source.snapshot, epoch: opened.manifest.epoch, keys: site.customer(key.customer).keys },
      heartbeat,
      signal,
    });
    const without = counts.withoutRecord > 0 ? `; ${counts.withoutRecord} have no record` : '';
    const held = counts.quarantined + counts.unreadable;
    const quarantined = held > 0 ? `; ${held} are in quarantine, see \`tandem quarantine list\`` : '';
    return {
      summary: `${users} users are as of ${opened.manifest.point}: ${written} were brought there, ${users - written} stood there already${without}${quarantined}`,
      facts: { users, written, ...counts },
    };
  });
}
