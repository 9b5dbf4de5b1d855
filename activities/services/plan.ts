import { loadRunbook } from '../../runbooks/load.ts';
import { applicable } from '../../workflows/model/applicable.ts';
import { canPerform } from '../../workflows/model/acts.ts';
import { failure, failureKind, type FailureKind } from '../../workflows/model/failures.ts';
import type { FailoverInput } from '../../workflows/model/moves.ts';
import {
  canonicalJson,
  type Approver,
  type Decisions,
  type Isolation,
  type Plan,
  type Step,
} from '../../workflows/model/plan.ts';
import { ageMs, type Timestamp } from '../../workflows/model/snapshots.ts';
import { within } from '../probes/peer.ts';
import { observeSource, sawClosed } from '../probes/source.ts';
import type { CustomerSettings } from '../settings.ts';
import { highestEpoch } from '../vault/epochs.ts';
import { sha256 } from '../vault/signed.ts';
import { checkInput } from './input.ts';
import type { OwnSite } from './site.ts';
import { chooseSource, OWN_VAULT_LIMIT_MS, type Chosen } from './sources.ts';

/** Two people, always (DESIGN 4). */
const APPROVALS_NEEDED = 2;

/**
 * Looks at the world and binds the runbook to it. What the lost site is asked has limits, so this takes seconds however
 * it is lost. The same world gives the same decisions: no time is in them but those of the input and the snapshot.
 */
export async function makePlan(
  site: OwnSite,
  { input: typed, declaredAt }: { input: FailoverInput; declaredAt: Timestamp },
  { runbookFile, signal }: { runbookFile?: string; signal?: AbortSignal } = {},
): Promise<Plan> {
  const { input, customer } = checkInput(site, typed, Date.parse(declaredAt));
  const disruptedAt = new Date(input.disruptedAt ?? declaredAt).toISOString();
  const [runbook, seen, held, claimed, users, chosen] = await Promise.all([
    loadRunbook(runbookFile),
    observeSource(site.settings, customer, signal),
    heldEpoch(site, customer.id),
    claimedHere(site, customer.id, signal),
    usersOf(site, customer),
    chooseSource(site, customer, { disruptedAt, recoveryPoint: input.recoveryPoint ?? null }, signal),
  ]);
  const isolation: Isolation = {
    verdict: seen.verdict,
    observers: seen.observers,
    statement: input.isolation?.trim() ?? null,
  };
  const { rpoMs, rtoMs } = customer.objectives;
  const { oldest, ...sources } = oldestAcceptable(chosen, { disruptedAt, rpoMs });
  const lossMs = ageMs(oldest, Date.parse(disruptedAt));
  const decisions: Decisions = {
    format: 1,
    kind: 'failover',
    customer: customer.id,
    from: input.from,
    to: site.settings.site,
    epoch: 1 + Math.max(held, claimed, seen.claimed, seen.epoch?.number ?? 0),
    disruptedAt,
    runbook: { name: runbook.name, digest: runbook.digest },
    ...applicable(runbook.steps, customer.options),
    isolation,
    recoveryPoint: oldest,
    acceptedLossMs: lossMs > rpoMs ? lossMs : null,
    users,
    approvers: approvers(site.settings.operators),
    approvalsNeeded: APPROVALS_NEEDED,
  };
  return {
    decisions,
    digest: sha256(canonicalJson(decisions)),
    ...sources,
    rpoMs,
    rtoMs,
    targetRtoMs: customer.target.rtoMs,
    blockers: [...blockers(customer, isolation), ...unperformed(decisions.steps)],
    madeAt: new Date().toISOString(),
  };
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

function blockers({ peer }: CustomerSettings, isolation: Isolation): Plan['blockers'] {
  const { verdict, observers, statement } = isolation;
  if (verdict === 'serving') {
    const who = observers.filter((o) => o.saw === 'serving').map((o) => o.name);
    return [{ kind: 'source-serves', text: `${peer} serves: its ${who.join(', ')} says so` }];
  }
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

async function heldEpoch(site: OwnSite, customer: string): Promise<number> {
  const rows = await site
    .database(customer)
    .query<{ number: string }>('select number from tandem.epoch where customer = $1', [customer]);
  if (!rows[0]) throw failure('database-wrong', `${customer}: the database of ${site.settings.site} holds no epoch`);
  return Number(rows[0].number);
}

async function usersOf(site: OwnSite, { id, peer }: CustomerSettings): Promise<number> {
  const rows = await site
    .database(id)
    .query<{ users: string }>('select count(*) as users from tandem.home where site = $1', [peer]);
  return Number(rows[0]?.users ?? 0);
}
