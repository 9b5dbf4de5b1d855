import { isTestKind, whoseTurn, type ContinuityTestInput } from '../../workflows/model/continuity.ts';
import { failure } from '../../workflows/model/failures.ts';
import type { Approver } from '../../workflows/model/plan.ts';
import type { Timestamp } from '../../workflows/model/snapshots.ts';
import { newestPassed, putOff, type Passed } from '../../workflows/model/test-due.ts';
import type { CustomerSettings } from '../settings.ts';
import type { TestPlan } from '../test-types.ts';
import { newestCovered } from '../vault/catalog.ts';
import type { Vault } from '../vault/port.ts';
import { allReceipts } from '../vault/test-receipts.ts';
import { readClosing } from './closed.ts';
import { readOperators } from './operators.ts';
import { countWithoutAccount, readReadiness, servesAlready } from './readiness.ts';
import type { OwnSite } from './site.ts';
import { requireCohort } from './test-live.ts';
import { livingTest, liveMove, runningTest } from './test-slot.ts';

/** After so long the schedule's test looks again whether what was in its way has gone. */
const AGAIN_MS = 24 * 3_600_000;
/** Below the time-out of the run of a test that a person has started. */
const LONGEST_CONFIRM_MS = 11 * 3_600_000;

export async function planTest(
  site: OwnSite,
  peers: ReadonlyMap<string, Vault>,
  { test, at }: { test: ContinuityTestInput; at: Timestamp },
): Promise<TestPlan> {
  const { settings } = site;
  const customer = settings.customers.get(test.customer);
  if (!customer)
    throw failure('unknown-customer', `customer ${JSON.stringify(test.customer)}: not at ${settings.site}`);
  if (!isTestKind(test.kind))
    throw failure(
      'input-invalid',
      `${JSON.stringify(test.kind)} test of ${customer.id}: tabletop, isolated and live are allowed`,
    );
  if (test.kind === 'live') await requireCohort(site, customer, test.cohort);
  const { confirmWithinMs = 0 } = test;
  if (!Number.isFinite(confirmWithinMs) || confirmWithinMs < 0 || confirmWithinMs > LONGEST_CONFIRM_MS)
    throw failure(
      'input-invalid',
      `${test.kind} test of ${customer.id}: confirmWithinMs ${JSON.stringify(confirmWithinMs)}, 0 to ${LONGEST_CONFIRM_MS} is allowed`,
    );
  const now = Date.parse(at);
  const { id, peer, continuityTest } = customer;
  // An operator's test asks no vault of a peer that may be lost.
  const last = async (): Promise<Passed | null> => {
    const vaults = { own: site.vault, peer: peers.get(peer) ?? null };
    return newestPassed(await allReceipts(vaults, settings, id, [settings.site, peer]), continuityTest.counts);
  };
  const turn =
    test.startedBy === 'operator'
      ? ({ turn: true, because: 'an operator asked for it' } as const)
      : whoseTurn(settings.site, await last(), now);
  const nothing = { site: settings.site, turn, snapshot: null, point: null };
  if (!turn.turn) return nothing;
  const wait = await obstacle(site, customer, test, now);
  const approvers = await approversOf(site, id);
  if (wait) return { ...nothing, approvers, putOff: wait };
  const { publicKeys } = settings;
  const covered =
    test.kind === 'isolated'
      ? await newestCovered({ vault: site.vault, customer: id, site: peer, publicKeys }, settings.site)
      : null;
  return {
    ...nothing,
    snapshot: covered?.receipt.snapshot ?? null,
    point: covered?.receipt.point ?? null,
    approvers,
    putOff: null,
    ...(await measures(site, customer)),
  };
}

/** What keeps a test from being held now: for an operator a failure, for the schedule a later time. */
async function obstacle(
  site: OwnSite,
  { id, continuityTest }: CustomerSettings,
  { startedBy, despiteBlackout, kind }: ContinuityTestInput,
  now: number,
): Promise<TestPlan['putOff']> {
  const [scheduled, later] = [startedBy === 'schedule', new Date(now + AGAIN_MS).toISOString()];
  const blackout = (despiteBlackout ?? '').trim() === '' ? putOff(continuityTest.blackouts, now) : null;
  const what = `${kind} test of ${id}`;
  if (blackout && !scheduled) throw failure('test-blackout', `${what}: ${blackout.because}`);
  if (blackout) return blackout;
  const [move, closing, running] = await site
    .database(id)
    .connection(
      async (client) =>
        [await liveMove(client, id), await readClosing(client, id), await livingTest(client, id)] as const,
    );
  if (scheduled) {
    const because = move ?? (closing && `${site.settings.site} is closed: ${closing.because}`);
    return because === null ? null : { until: later, because };
  }
  if (move !== null) throw failure('move-running', `${what}: ${move}`);
  if (closing) throw failure('site-closed', `${what}: ${site.settings.site} is closed: ${closing.because}`);
  if (running) throw runningTest(id, running);
  return null;
}

/** Whose words count here. */
async function approversOf(site: OwnSite, customer: string): Promise<Approver[]> {
  const { admitted } = await readOperators(site.database(customer), site.settings.operators);
  return admitted.map(({ id, key, roles, expires }) => ({ id, key, roles, ...(expires !== undefined && { expires }) }));
}

/** What is proved beside the rows, from what this site knows without touching its service. */
async function measures(
  site: OwnSite,
  { id, peer, objectives, target }: CustomerSettings,
): Promise<Pick<TestPlan, 'accounts' | 'promised'>> {
  const database = site.database(id);
  const [accounts, ready, tookOver] = await Promise.all([
    // Only where a service is known here: without one there is nobody to have an account.
    site.settings.services.has(site.settings.site) ? countWithoutAccount(database, peer) : null,
    readReadiness(database, id),
    servesAlready(database, peer),
  ]);
  const { rtoMs, rpoMs } = objectives;
  const promised = { forecastMs: ready?.forecastMs ?? null, rtoMs, targetRtoMs: target.rtoMs, rpoMs, tookOver };
  return { accounts, promised };
}
