import { failure } from '../../workflows/model/failures.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import { compareSnapshot } from '../contacts/compare.ts';
import { doneBefore, noteEffect } from '../services/effects.ts';
import type { PlannedStep } from '../services/planned.ts';
import type { LongWork } from '../services/restore.ts';
import type { OwnSite } from '../services/site.ts';
import { withPlannedSnapshot } from '../services/snapshot.ts';

/**
 * Looks at what the moved users find: the right to be served here, for each of them, and every row of their contacts and
 * ACLs as the plan's snapshot has it. Any that is missing or differs is `verification-failed`, in numbers. Users in
 * quarantine are not let in, and are told of.
 */
export async function probeContacts(
  site: OwnSite,
  input: PlannedStep,
  { heartbeat, signal }: LongWork,
): Promise<StepResult> {
  const { key, plan } = input;
  const customer = site.customer(key.customer);
  const database = site.database(customer.id);
  const done = await doneBefore(database, input);
  if (done) return done;
  const half = plan.decisions.from;
  const [right] = await database.query<{ users: string; unserved: string; quarantined: string }>(
    `select count(*) as users, count(*) filter (where q.username is not null) as quarantined,
            count(*) filter (where q.username is null and not tandem.may_serve(h.username)) as unserved
       from tandem.home h left join tandem.quarantine q on q.username = h.username and q.release is null
      where h.site = $1`,
    [half],
  );
  const users = Number(right?.users ?? 0);
  const unserved = Number(right?.unserved ?? 0);
  const quarantined = Number(right?.quarantined ?? 0);
  const { counts, mismatches } = await withPlannedSnapshot(site, plan, signal, ({ records }) =>
    compareSnapshot({ database, records, whole: false, heartbeat, signal }),
  );
  const facts = {
    users,
    unserved,
    quarantined,
    compared: counts.users,
    contacts: counts.contacts,
    aclItems: counts.aclItems,
    mismatches,
    overLimit: await overLimit(site, customer.id, half, customer.limits.contacts),
  };
  if (unserved > 0 || mismatches > 0) {
    const text = `${customer.id}: ${unserved} of ${users} users of ${half} are not served here, ${mismatches} rows differ from the snapshot`;
    throw failure('verification-failed', text, facts);
  }
  const over = facts.overLimit > 0 ? `; ${facts.overLimit} have more contacts than ${customer.limits.contacts}` : '';
  const held = quarantined > 0 ? `; ${quarantined} are in quarantine, see \`tandem quarantine list\`` : '';
  const summary = `${users - quarantined} users are served; ${counts.users} were compared row by row, none differs${over}${held}`;
  return database.transaction((client) => noteEffect(client, input, { summary, facts }));
}

/** Users with more contacts than the service promises. Requests that wait for their answer are no contacts yet. */
async function overLimit(site: OwnSite, customer: string, half: string, limit: number): Promise<number> {
  const rows = await site.database(customer).query<{ users: string }>(
    `select count(*) as users from (
       select r.username from rosterusers r join tandem.home h using (username)
        where h.site = $1 and not (r.subscription = 'N' and r.ask = 'I')
        group by r.username having count(*) > $2) over_limit`,
    [half, limit],
  );
  return Number(rows[0]?.users ?? 0);
}
