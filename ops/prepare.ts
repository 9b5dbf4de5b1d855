import type { Client } from '@temporalio/client';
import { Database } from '../activities/contacts/database.ts';
import { prepareContactDatabase } from '../activities/contacts/prepare.ts';
import { sayAlive } from '../activities/services/alive.ts';
import { anchorOperators } from '../activities/services/operators.ts';
import { leavesOn } from '../activities/services/leaving.ts';
import { obeyNewerEpoch, toldObeyed } from '../activities/services/obey.ts';
import { defaultFilter } from '../activities/filter/policy.ts';
import type { CustomerSettings, SiteSettings } from '../activities/settings.ts';
import { followOpenUpdates } from './external-updates.ts';
import { scheduleIds } from '../workflows/model/names.ts';
import type { Passed } from '../workflows/model/test-due.ts';
import { refuseOthersIds } from './customers/identity.ts';
import { applySchedule, describeSchedule, removeSchedules, schedulesOf } from './schedules.ts';
import { passedHere } from './test-receipts.ts';
import { startWatch } from './watch-run.ts';

const LIMITS = { connections: 1, connectMs: 5000, statementMs: 30_000 };

/**
 * Prepares all that a site needs beyond its namespace, safe to repeat: the schema and the message filter in each customer's
 * database, the newest epoch that its peer has claimed, whether this site was down, the schedules, the run that tells of the watch, and the runs of requests to parties outside that are still open. A database of another site or customer is refused before anything is written.
 */
export async function prepareSite(settings: SiteSettings, client: Client, say: (line: string) => void): Promise<void> {
  await refuseOthersIds(settings);
  let vaultAway = false; // It is the same for all: whoever finds it away waits for it once.
  for (const customer of settings.customers.values()) {
    const ends = await prepareDatabase(settings, customer, client, say);
    if (ends !== null) {
      say(`${customer.id}: has left on ${ends}; nothing runs for it any more`);
      await removeSchedules(client, customer.id);
      continue;
    }
    const passed: Passed | null | undefined = vaultAway ? undefined : await passedHere(settings, customer);
    vaultAway = passed === undefined;
    for (const want of schedulesOf(customer, settings.site, passed ?? null)) {
      // While nobody can say which test was the last, the day that it has is better than none.
      const isTest = want.scheduleId === scheduleIds.continuityTest(customer.id);
      if (isTest && passed === undefined && (await describeSchedule(client, want.scheduleId))) continue;
      const was = await applySchedule(client, want);
      if (was !== 'as configured') say(`schedule ${want.scheduleId} was ${was}`);
    }
    await startWatch(client, settings.site, customer.id);
  }
}

/** Answers the day on which its customer has left; null when it has not. */
async function prepareDatabase(
  settings: SiteSettings,
  customer: CustomerSettings,
  client: Client,
  say: (line: string) => void,
): Promise<string | null> {
  const { site } = settings;
  const database = new Database(`database of ${customer.id} at ${site}`, customer.databaseUrl, LIMITS);
  try {
    await prepareContactDatabase(database, customer.id, site, customer.sites, customer.filter ?? defaultFilter);
    await closeWhatIsLost(settings, customer, database, say);
    const { founded, admitted, fresh, gone, notAdmitted } = await anchorOperators(database, settings.operators);
    if (founded)
      say(
        `${customer.id}: the operators are ${admitted.map((o) => o.id).join(', ')}; others are admitted by two of them`,
      );
    for (const { id, admitted: proofs = [] } of fresh)
      say(`${customer.id}: operator ${id} was admitted by ${proofs.map((p) => p.by).join(' and ')}`);
    for (const id of gone) say(`${customer.id}: operator ${id} has left; to come back he is admitted anew`);
    for (const { operator, because } of notAdmitted)
      say(`${customer.id}: operator ${operator} does not count: ${because}`);
    for (const id of await followOpenUpdates(client, site, database, customer.id)) say(`${id} is followed again`);
    const day = await leavesOn(database, customer.id);
    return day !== null && Date.parse(day) <= Date.now() ? day : null;
  } finally {
    await database.close();
  }
}

/**
 * Before anybody is served because a worker is there: takes a newer epoch, then says that the site lives, which closes one that
 * was down. That also when newer epochs could not be looked for: it is then the more in doubt.
 */
async function closeWhatIsLost(
  settings: SiteSettings,
  customer: CustomerSettings,
  database: Database,
  say: (line: string) => void,
): Promise<void> {
  const [obeyed] = await Promise.allSettled([obeyNewerEpoch(settings, customer.id, database)]);
  const closing = await sayAlive(settings, customer, database);
  if (closing)
    say(
      `${customer.id}: CLOSED: ${closing.because}; it opens when ${customer.peer} confirms it, or by \`tandem site open\``,
    );
  if (obeyed.status === 'rejected') throw obeyed.reason;
  const newer = obeyed.value;
  if (newer) say(`${customer.id}: ${toldObeyed(newer)}`);
}
