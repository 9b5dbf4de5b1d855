import type { PoolClient } from 'pg';
import { failureKind, failureText, type FailureKind } from '../../workflows/model/failures.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import { halfOf, halvesOf, type Plan, type RecoverySource } from '../../workflows/model/plan.ts';
import { tellPairs } from '../../workflows/model/subscriptions.ts';
import { mendSubscriptions } from '../contacts/mend.ts';
import { lockEpoch, restoreSnapshot } from '../contacts/restore.ts';
import { keepLedger, LedgerBuilder, quarantinedOf, type AsOf, type Ledger } from '../journal/recovery.ts';
import { KEY_BYTES, recordKeys } from '../vault/macs.ts';
import { doneBefore, noteEffect } from './effects.ts';
import type { OwnSite } from './site.ts';
import { withPlannedSnapshot } from './snapshot.ts';
import type { PlannedStep } from './planned.ts';
import { restoreAgain } from './restore-again.ts';
import { restoreFromStandby } from './standby.ts';

export interface LongWork {
  heartbeat: (progress: Record<string, number>) => void;
  signal: AbortSignal;
}

/**
 * Brings contacts and ACLs of the lost half to the plan's snapshot, in transactions that lock the step's epoch first. A
 * repeat finds what is done equal, and only writes the rest. From the standby copy nothing is brought: it is proven. Then
 * the contacts that are older than their peers' are mended, whatever they came from.
 */
export async function restoreContacts(
  site: OwnSite,
  input: PlannedStep,
  { heartbeat, signal }: LongWork,
): Promise<StepResult> {
  const { key, plan } = input;
  if (plan.decisions.again) return restoreAgain(site, input, plan.decisions.again, { heartbeat, signal });
  const database = site.database(key.customer);
  const done = await doneBefore(database, input);
  if (done) return done;
  // A step of an old move is refused before anything is fetched.
  await database.transaction((client) => lockEpoch(client, database.name, key.customer, key.epoch));
  const { ledger, ...result } = await bring(site, input, { heartbeat, signal });
  return database.transaction(async (client) => {
    await lockEpoch(client, database.name, key.customer, key.epoch);
    const noted = await noteEffect(client, input, await mend(client, site, input, result, { heartbeat, signal }));
    // Another attempt's line may stand, with a ledger of its own.
    if (ledger && noted.facts['ledger'] === ledger.digest) await keepLedger(client, ledger);
    return noted;
  });
}

/** Whose contacts were restored, and by whose they are mended: by those of whoever else is served here. */
export async function mendedHalves(
  client: PoolClient,
  { decisions }: Pick<Plan, 'decisions'>,
): Promise<{ lost: string[]; current: string[] }> {
  const lost = halvesOf(decisions);
  const { rows } = await client.query<{ half: string }>(
    `select s.half from tandem.identity i
       join tandem.serving s on s.customer = i.customer and s.site = i.site
       join tandem.epoch e on e.customer = i.customer and e.number = s.epoch
      where s.half <> all($1) order by s.half`,
    [lost],
  );
  return { lost, current: rows.map(({ half }) => half) };
}

/**
 * Restored contacts are older than those of the users who were served on: in the transaction that says that they are
 * restored, their subscriptions are brought to what the other side says, so that nobody serves them as they were.
 */
async function mend(
  client: PoolClient,
  site: OwnSite,
  { key, plan }: PlannedStep,
  result: StepResult,
  work: LongWork,
): Promise<StepResult> {
  const { id, domain, limits, keys } = site.customer(key.customer);
  const halves = { domain, ...(await mendedHalves(client, plan)) };
  const pairs = await mendSubscriptions(client, { customer: id, ...halves, limit: limits.contacts, keys, ...work });
  const told = tellPairs(pairs);
  return {
    ...result,
    summary: told === '' ? result.summary : `${result.summary}; ${told}`,
    facts: { ...result.facts, ...pairs },
  };
}

/** What a source gave, and who got what; no ledger without the key that its users stand under. */
type Brought = StepResult & { ledger: Ledger | null };

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
async function bring(site: OwnSite, input: PlannedStep, work: LongWork): Promise<Brought> {
  const { source, fallback } = input.plan;
  try {
    return await bringFrom(site, input, source, work);
  } catch (error) {
    if (!fallback || work.signal.aborted || !sourceFaults.includes(failureKind(error))) throw error;
    const { summary, ...brought } = await bringFrom(site, input, fallback, work);
    return { summary: `${summary}; not from ${source.from}: ${failureText(error)}`, ...brought };
  }
}

async function bringFrom(
  site: OwnSite,
  { key, act, plan }: PlannedStep,
  source: RecoverySource,
  work: LongWork,
): Promise<Brought> {
  const input = { key, act, plan: { ...plan, source } };
  const { keys } = site.customer(key.customer);
  const { current } = keys;
  // The standby copy needs no key; without one, nobody can be named in a ledger.
  const secret = keys.ring.get(current);
  const builder = secret?.length === KEY_BYTES ? new LedgerBuilder(recordKeys(secret).userKey) : null;
  const { summary, facts, asOf } =
    source.from === 'standby-copy'
      ? await restoreFromStandby(site, input, builder, work.signal)
      : await restoreFromVault(site, input, builder, work);
  const halves = halvesOf(plan.decisions);
  const { customer, epoch } = key;
  const waiting = await site.database(customer).connection((client) => quarantinedOf(client, halves));
  const { from } = source;
  const about = { customer, move: epoch.move, site: site.settings.site, from: halfOf(plan.decisions), keyId: current };
  const ledger = builder?.finish({ ...about, source: from, asOf }, waiting) ?? null;
  return { summary, facts: { ...facts, from, ledger: ledger?.digest ?? null }, ledger };
}

async function restoreFromVault(
  site: OwnSite,
  { key, plan }: PlannedStep,
  ledger: LedgerBuilder | null,
  { heartbeat, signal: asked }: LongWork,
): Promise<StepResult & { asOf: AsOf }> {
  const database = site.database(key.customer);
  const hear = (name: Buffer, recorded: boolean, hasRows: boolean): void => {
    const without = hasRows ? 'held' : 'no-snapshot';
    ledger?.add(name, recorded ? 'as-of' : without);
  };
  return withPlannedSnapshot(site, plan, asked, async ({ opened, signal }) => {
    const { written, users, ...counts } = await restoreSnapshot({
      database,
      snapshot: opened,
      halves: halvesOf(plan.decisions),
      guard: { customer: key.customer, epoch: key.epoch },
      ledger: { snapshot: plan.source.snapshot, epoch: opened.manifest.epoch, keys: site.customer(key.customer).keys },
      seen: hear,
      heartbeat,
      signal,
    });
    const without = counts.withoutRecord > 0 ? `; ${counts.withoutRecord} have no record` : '';
    const held = counts.quarantined + counts.unreadable;
    const quarantined = held > 0 ? `; ${held} are in quarantine, see \`tandem quarantine list\`` : '';
    return {
      summary: `${users} users are as of ${opened.manifest.point}: ${written} were brought there, ${users - written} stood there already${without}${quarantined}`,
      facts: { users, written, ...counts },
      asOf: { snapshot: plan.source.snapshot, point: opened.manifest.point },
    };
  });
}
