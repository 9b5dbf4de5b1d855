import { failure } from '../../workflows/model/failures.ts';
import { halvesOf } from '../../workflows/model/plan.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import { compareSnapshot } from '../contacts/compare.ts';
import type { Database } from '../contacts/database.ts';
import { doneBefore, noteEffect } from '../services/effects.ts';
import type { PlannedStep } from '../services/planned.ts';
import type { LongWork } from '../services/restore.ts';
import type { OwnSite } from '../services/site.ts';
import { withPlannedSnapshot } from '../services/snapshot.ts';
import { compareWithLedger } from '../services/standby.ts';

/**
 * They are served while they are looked at, and change their own rows. Of more than so many it is no longer they alone:
 * something else writes here.
 */
const CHANGED_USERS = 100;
const CHANGED_SHARE = 0.05;

/**
 * Looks at what the moved users find: the right to be served here, for each of them, and every row of their contacts and
 * ACLs as the plan's snapshot has it. Any that the restore has left out or got wrong is `verification-failed`, in numbers.
 * Users who have changed their rows since they were brought are counted, and so are those in quarantine and those whom the
 * directory disables, who are not let in.
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
  const halves = halvesOf(plan.decisions);
  const { users, unserved, quarantined, disabled } = await rightOf(database, halves);
  if (plan.decisions.again) return whoIsServed(database, input, { users, unserved, quarantined, disabled });
  const { vault, unproven = 0, changed, ...rows } = await compareRows(site, input, { heartbeat, signal });
  const facts = {
    users,
    unserved,
    quarantined,
    ...(disabled > 0 && { disabled }),
    ...rows,
    ...(changed > 0 && { changed }),
    ...(vault === 'none' && { unproven, vault }),
    overLimit: await overLimit(site, customer.id, halves, customer.limits.contacts),
  };
  if (unserved > 0 || rows.mismatches > 0 || unproven > 0) {
    const text = `${customer.id}: ${unserved} of ${users} users of ${halves.join(' and ')} are not served here, ${differing(rows.mismatches, unproven, vault)}`;
    throw failure('verification-failed', text, facts);
  }
  const most = Math.max(CHANGED_USERS, Math.floor(users * CHANGED_SHARE));
  if (changed > most)
    throw failure(
      'verification-failed',
      `${customer.id}: ${changed} of ${users} users of ${halves.join(' and ')} have other rows than they were brought, more than the ${most} who are taken to have changed them themselves`,
      facts,
    );
  const own = changed > 0 ? `; ${changed} have changed theirs since they were brought` : '';
  const over = facts.overLimit > 0 ? `; ${facts.overLimit} have more contacts than ${customer.limits.contacts}` : '';
  const held = quarantined > 0 ? `; ${quarantined} are in quarantine, see \`tandem quarantine list\`` : '';
  const out = disabled > 0 ? `; ${disabled} are disabled in the directory` : '';
  const how = vault === 'none' ? 'by the ledger of the standby copy, no vault was read' : 'row by row';
  const summary = `${users - quarantined - disabled} users are served; ${rows.compared} were compared ${how}, none differs${own}${over}${held}${out}`;
  return database.transaction((client) => noteEffect(client, input, { summary, facts }));
}

/** Of users who were served before, and have changed things since, no snapshot tells what their rows have to be. */
async function whoIsServed(database: Database, input: PlannedStep, facts: Right): Promise<StepResult> {
  const { users, unserved, quarantined, disabled } = facts;
  if (unserved > 0)
    throw failure(
      'verification-failed',
      `${input.key.customer}: ${unserved} of ${users} users of ${halvesOf(input.plan.decisions).join(' and ')} are not served here`,
      { ...facts },
    );
  const summary = `${users - quarantined - disabled} users are served; their rows were not compared, for they change them meanwhile`;
  return database.transaction((client) => noteEffect(client, input, { summary, facts: { ...facts } }));
}

interface Right {
  users: number;
  /** Of whom nobody can say why. */
  unserved: number;
  quarantined: number;
  /** By the directory, and not in quarantine. */
  disabled: number;
}

async function rightOf(database: Database, halves: readonly string[]): Promise<Right> {
  const [row] = await database.query<Right & Record<string, unknown>>(
    `select count(*)::int as users, count(*) filter (where q.username is not null)::int as quarantined,
            count(*) filter (where q.username is null and not r.entitled)::int as disabled,
            count(*) filter (where q.username is null and r.entitled and not tandem.may_serve(h.username))::int as unserved
       from tandem.home h
       cross join lateral (select tandem.entitled(h.username) as entitled) r
       left join tandem.quarantine q on q.username = h.username and q.release is null
      where h.site = any($1)`,
    [halves],
  );
  return row ?? { users: 0, unserved: 0, quarantined: 0, disabled: 0 };
}

interface Compared {
  compared: number;
  contacts: number;
  aclItems: number;
  /** Rows; users, when no vault was read. */
  mismatches: number;
  /** Users who have other rows than they were brought. */
  changed: number;
  unproven?: number;
  vault: 'read' | 'none';
}

/** With what the restore has brought: the vault's records, or the ledger's digests when no vault was read for them. */
async function compareRows(site: OwnSite, input: PlannedStep, { heartbeat, signal }: LongWork): Promise<Compared> {
  const { key, plan } = input;
  const database = site.database(key.customer);
  const { fallback, source: first } = plan;
  const source = fallback && (await toldOf(site, input, 'from')) === fallback.from ? fallback : first;
  if (source.from === 'standby-copy') {
    const told = await toldOf(site, input, 'changed');
    const {
      differing: elsewhere,
      changed,
      ...rows
    } = await compareWithLedger(site, { ...input, plan: { ...plan, source } });
    // Those who differed before they were served still do.
    const before = Math.min(changed, Number(told ?? 0));
    return { ...rows, mismatches: elsewhere + before, changed: changed - before, vault: 'none' };
  }
  const brought = {
    keys: site.customer(key.customer).keys,
    halves: halvesOf(plan.decisions),
    by: { site: site.settings.site, epoch: key.epoch.number },
  };
  const { counts, mismatches, changed } = await withPlannedSnapshot(site, { ...plan, source }, signal, (opened) =>
    compareSnapshot({
      database,
      records: opened.records,
      whole: false,
      mended: true,
      brought,
      heartbeat,
      signal: opened.signal,
    }),
  );
  const { users: compared, contacts, aclItems } = counts;
  return { compared, contacts, aclItems, mismatches, changed, vault: 'read' };
}

/** A fact that the move's restore has told. */
async function toldOf(site: OwnSite, { key }: PlannedStep, fact: 'from' | 'changed'): Promise<string | undefined> {
  const [row] = await site.database(key.customer).query<{ told: string }>(
    `select body::jsonb #>> array['result', 'facts', $2] as told from tandem.journal
      where move = $1 and kind = 'step' and body::jsonb ->> 'act' = 'restore-contacts' and body::jsonb ? 'result'
      order by seq desc limit 1`,
    [key.epoch.move, fact],
  );
  return row?.told ?? undefined;
}

function differing(mismatches: number, unproven: number, vault: Compared['vault']): string {
  if (vault === 'read') return `${mismatches} rows differ from the snapshot`;
  const gone = unproven > 0 ? `; of ${unproven} nobody can tell, the key of their digests is gone` : '';
  return `the rows of ${mismatches} users differ from the ledger${gone}`;
}

/** Users with more contacts than the service promises. Requests that wait for their answer are no contacts yet. */
async function overLimit(site: OwnSite, customer: string, halves: readonly string[], limit: number): Promise<number> {
  const rows = await site.database(customer).query<{ users: string }>(
    `select count(*) as users from (
       select r.username from rosterusers r join tandem.home h using (username)
        where h.site = any($1) and not (r.subscription = 'N' and r.ask = 'I')
        group by r.username having count(*) > $2) over_limit`,
    [halves, limit],
  );
  return Number(rows[0]?.users ?? 0);
}
