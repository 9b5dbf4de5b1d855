import type { StepResult } from '../../workflows/model/moves.ts';
import { lockEpoch, restoreSnapshot } from '../contacts/restore.ts';
import { doneBefore, noteEffect } from './effects.ts';
import type { OwnSite } from './site.ts';
import { withPlannedSnapshot } from './snapshot.ts';
import type { PlannedStep } from './planned.ts';

export interface LongWork {
  heartbeat: (progress: Record<string, number>) => void;
  signal: AbortSignal;
}

/**
 * Brings contacts and ACLs of the lost half to the plan's snapshot, in transactions that lock the step's epoch first. A
 * repeat finds what is done equal, and only writes the rest.
 */
export async function restoreContacts(
  site: OwnSite,
  input: PlannedStep,
  { heartbeat, signal }: LongWork,
): Promise<StepResult> {
  const { key, plan } = input;
  const database = site.database(key.customer);
  const done = await doneBefore(database, input);
  if (done) return done;
  // A step of an old move is refused before anything is fetched.
  await database.transaction((client) => lockEpoch(client, database.name, key.customer, key.epoch));
  const result = await withPlannedSnapshot(site, plan, signal, async ({ opened }) => {
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
  return database.transaction(async (client) => {
    await lockEpoch(client, database.name, key.customer, key.epoch);
    return noteEffect(client, input, result);
  });
}
