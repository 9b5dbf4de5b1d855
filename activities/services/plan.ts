import { loadRunbook } from '../../runbooks/load.ts';
import { acceptancesOf } from '../../workflows/model/acceptances.ts';
import { applicable } from '../../workflows/model/applicable.ts';
import { canPerform } from '../../workflows/model/acts.ts';
import { failureKind, type FailureKind } from '../../workflows/model/failures.ts';
import { makeForecast } from '../../workflows/model/forecast.ts';
import type { FailoverInput } from '../../workflows/model/moves.ts';
import {
  canonicalJson,
  type Approver,
  type Capacity,
  type Decisions,
  type Isolation,
  type Named,
  type Plan,
  type Runbook,
  type Step,
} from '../../workflows/model/plan.ts';
import { ageMs, type Timestamp } from '../../workflows/model/snapshots.ts';
import { within } from '../probes/peer.ts';
import { observeSource, sawClosed } from '../probes/source.ts';
import type { CustomerSettings } from '../settings.ts';
import { highestEpoch } from '../vault/epochs.ts';
import { sha256 } from '../vault/signed.ts';
import { capacityOf } from './capacity.ts';
import { checkInput } from './input.ts';
import { countLedger, lossOf } from './loss.ts';
import { measuredTimes, timesInDatabase } from './measured.ts';
import { keepSigned } from './signed-plan.ts';
import type { OwnSite } from './site.ts';
import { chooseSource, OWN_VAULT_LIMIT_MS, type Chosen } from './sources.ts';

/** Two people, always (DESIGN 4). */
const APPROVALS_NEEDED = 2;

/**
 * Looks at the world and binds the runbook to it. What the lost site is asked has limits, and so has this site's vault, so
 * this takes seconds however much is lost. The same world gives the same decisions: no time is in them but those of the
 * input and the snapshot. In a `move`, what people have signed stands while the world has only drifted.
 */
export async function makePlan(
  site: OwnSite,
  { input: typed, declaredAt, move }: { input: FailoverInput; declaredAt: Timestamp; move?: string },
  { runbookFile, signal }: { runbookFile?: string; signal?: AbortSignal } = {},
): Promise<Plan> {
  const { input, customer } = checkInput(site, typed, Date.parse(declaredAt));
  const disruptedAt = new Date(input.disruptedAt ?? declaredAt).toISOString();
  // One connection for both: many plans may be made at once.
  const inDatabase = site
    .database(customer.id)
    .connection(
      async (client) => [await countLedger(client, customer), await timesInDatabase(client, customer.id)] as const,
    );
  const known = inDatabase.then(([, times]) => times);
  const [runbook, seen, claimed, [ledger], carries, chosen, times] = await Promise.all([
    loadRunbook(runbookFile),
    observeSource(site.settings, customer, signal),
    claimedHere(site, customer.id, signal),
    inDatabase,
    capacityOf(site, customer, signal),
    chooseSource(site, customer, { disruptedAt, recoveryPoint: input.recoveryPoint ?? null }, signal),
    measuredTimes(site, customer.id, known, signal),
  ]);
  const isolation: Isolation = {
    verdict: seen.verdict,
    observers: seen.observers,
    statement: input.isolation?.trim() ?? null,
  };
  const { rpoMs, rtoMs } = customer.objectives;
  const { oldest, ...sources } = oldestAcceptable(chosen, { disruptedAt, rpoMs });
  const users = ledger.all;
  const capacity = { ...carries, moves: users };
  const epoch = 1 + Math.max(ledger.epoch, claimed, seen.claimed, seen.epoch?.number ?? 0);
  const servingSeenBy = input.sourceIsServing ? whoSawItServe(isolation) : null;
  const world = { disruptedAt, epoch, runbook, isolation, oldest, users, servingSeenBy, capacity };
  const { looked, accepted } = decide(site, customer, world);
  const decisions = await keepSigned(site, move, looked);
  const forecast = makeForecast(decisions.steps, users, times);
  const targetRtoMs = customer.target.rtoMs;
  return {
    decisions,
    digest: sha256(canonicalJson(decisions)),
    ...sources,
    acceptances: named(decisions.acceptances ?? [], accepted),
    loss: lossOf(ledger, sources.source, disruptedAt),
    capacity,
    forecast,
    decideBy: decideBy(disruptedAt, forecast.p75Ms, { target: targetRtoMs, promise: rtoMs }),
    rpoMs,
    rtoMs,
    targetRtoMs,
    blockers: [...blockers(customer, isolation, servingSeenBy !== null), ...unperformed(decisions.steps)],
    madeAt: new Date().toISOString(),
  };
}

/** What was seen, as far as people decide by it. */
interface World {
  disruptedAt: Timestamp;
  epoch: number;
  runbook: Runbook;
  isolation: Isolation;
  oldest: Timestamp;
  users: number;
  servingSeenBy: string | null;
  capacity: Capacity;
}

function decide(site: OwnSite, customer: CustomerSettings, world: World): { looked: Decisions; accepted: Named[] } {
  const { disruptedAt, epoch, runbook, isolation, oldest, users, servingSeenBy, capacity } = world;
  const { rpoMs } = customer.objectives;
  const [from, to] = [customer.peer, site.settings.site];
  const lossMs = ageMs(oldest, Date.parse(disruptedAt));
  const acceptedLossMs = lossMs > rpoMs ? lossMs : null;
  const accepted = acceptancesOf({ from, to, acceptedLossMs, rpoMs, servingSeenBy, capacity });
  const looked: Decisions = {
    format: 1,
    kind: 'failover',
    customer: customer.id,
    from,
    to,
    epoch,
    disruptedAt,
    runbook: { name: runbook.name, digest: runbook.digest },
    ...applicable(runbook.steps, customer.options),
    isolation,
    recoveryPoint: oldest,
    acceptedLossMs,
    ...(accepted.length > 0 && { acceptances: accepted.map(({ name }) => name) }),
    users,
    approvers: approvers(site.settings.operators),
    approvalsNeeded: APPROVALS_NEEDED,
  };
  return { looked, accepted };
}

/** What each name means; one that was signed and is no longer needed says so. */
const named = (names: readonly string[], accepted: readonly Named[]): Named[] =>
  names.map((name) => accepted.find((a) => a.name === name) ?? { name, because: 'signed, and no worse since' });

/** The last moment to sign at which each limit can still be kept, even at the pace of p75. */
function decideBy(
  disruptedAt: Timestamp,
  walkMs: number,
  { target, promise }: Record<'target' | 'promise', number>,
): NonNullable<Plan['decideBy']> {
  const by = (limitMs: number): Timestamp => new Date(Date.parse(disruptedAt) + limitMs - walkMs).toISOString();
  return { target: by(target), promise: by(promise) };
}

/** Null when nobody did. */
function whoSawItServe({ verdict, observers }: Isolation): string | null {
  if (verdict !== 'serving') return null;
  return observers.flatMap(({ name, saw }) => (saw === 'serving' ? [name] : [])).join(', ');
}

/**
 * What people sign is the oldest point they may get. A source that may fail in the middle, as a lost site's vault may, is
 * replaced by the next one without asking anybody again as long as that keeps the RPO; beyond it nobody has agreed to it.
 */
function oldestAcceptable(
  { source, fallback, notTaken }: Chosen,
  { disruptedAt, rpoMs }: { disruptedAt: Timestamp; rpoMs: number },
): Chosen & { oldest: Timestamp } {
  if (fallback && ageMs(fallback.point, Date.parse(disruptedAt)) <= rpoMs)
    return { source, fallback, notTaken, oldest: fallback.point };
  return { source, notTaken, oldest: source.point };
}

/** A vault that is away tells nothing: `advance-epoch` meets what it holds, if it is there then. */
async function claimedHere(site: OwnSite, customer: string, signal?: AbortSignal): Promise<number> {
  try {
    const look = (limited: AbortSignal): Promise<number> => highestEpoch(site.vault, customer, limited);
    return await within(OWN_VAULT_LIMIT_MS, `vault of ${site.settings.site}`, look, signal);
  } catch (error) {
    if (signal?.aborted || !away.includes(failureKind(error))) throw error;
    return 0;
  }
}

const away: readonly (FailureKind | undefined)[] = ['source-unreachable', 'vault-unreachable', 'vault-refused'];

/** Everybody whom the run may have to listen to: those who approve, and those who may only retry a step or stop it. */
function approvers(operators: readonly Approver[]): Approver[] {
  return operators
    .filter((o) => o.roles.some((role) => role !== 'declare'))
    .map(({ id, key, roles }) => ({ id, key, roles: roles.toSorted() }))
    .toSorted((a, b) => (a.id < b.id ? -1 : 1));
}

/**
 * A site that is seen to serve is moved away from only when the declarer asks for it and says how it is cut off; those
 * who sign then accept that by name.
 */
function blockers({ peer }: CustomerSettings, isolation: Isolation, servingAccepted: boolean): Plan['blockers'] {
  const { verdict, observers, statement } = isolation;
  if (verdict === 'serving' && !servingAccepted)
    return [{ kind: 'source-serves', text: `${peer} serves: its ${whoSawItServe(isolation) ?? ''} says so` }];
  if (verdict === 'dead' || statement !== null || sawClosed(observers)) return [];
  const seen = observers.map((o) => `${o.name} ${o.saw}`).join(', ');
  return [
    {
      kind: 'isolation-unknown',
      text: `nobody knows whether ${peer} still serves (${seen}): state how it is cut off, by whom, when`,
    },
  ];
}

/** An act that nobody performs would hold the move in the middle: it is said before anybody signs. */
function unperformed(steps: readonly Step[]): Plan['blockers'] {
  return steps
    .filter(({ act }) => !canPerform(act))
    .map(({ id, act }) => ({ kind: 'act-missing', text: `step ${id}: this version does not perform ${act}` }));
}
