import { loadRunbook } from '../../runbooks/load.ts';
import { applicable } from '../../workflows/model/applicable.ts';
import { canPerform } from '../../workflows/model/acts.ts';
import { failure } from '../../workflows/model/failures.ts';
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
import { sawClosed } from '../../workflows/model/verdict.ts';
import { observeSource } from '../probes/source.ts';
import { proveSurvivor } from '../probes/survivor.ts';
import type { CustomerSettings } from '../settings.ts';
import { nextEpoch } from '../vault/epochs.ts';
import { sha256 } from '../vault/signed.ts';
import { claimsInReach } from './claims.ts';
import { checkInput } from './input.ts';
import { unconfigured, withParties } from './configured.ts';
import { readOperators } from './operators.ts';
import type { OwnSite } from './site.ts';
import { chooseSource } from './sources.ts';

/** Two people, always (DESIGN 4). */
const APPROVALS_NEEDED = 2;

/**
 * Looks at the world and binds the runbook to it. What the lost site is asked has limits, so this takes seconds however
 * it is lost. The same world gives the same decisions: no time is in them but those of the input and the snapshot.
 */
export async function makePlan(
  site: OwnSite,
  { input: typed, declaredAt }: { input: FailoverInput; declaredAt: Timestamp },
  { signal }: { signal?: AbortSignal } = {},
): Promise<Plan> {
  const { input, customer } = checkInput(site, typed, Date.parse(declaredAt));
  const disruptedAt = new Date(input.disruptedAt ?? declaredAt).toISOString();
  const [runbook, seen, survivor, held, claimed, users, chosen, operators] = await Promise.all([
    // Now, and not when the worker starts: what people sign is what lies on disk.
    loadRunbook(customer.runbooks.get('failover'), { kind: 'failover' }),
    observeSource(site.settings, customer, signal),
    proveSurvivor(site, customer, signal),
    heldEpoch(site, customer.id),
    claimsInReach(site, customer.id, signal),
    usersOf(site, customer),
    chooseSource(site, customer, { disruptedAt, recoveryPoint: input.recoveryPoint ?? null }, signal),
    readOperators(site.database(customer.id), site.settings.operators),
  ]);
  const { source, notTaken } = chosen;
  const isolation: Isolation = {
    verdict: seen.verdict,
    observers: seen.observers,
    statement: input.isolation?.trim() ?? null,
  };
  const { rpoMs, rtoMs } = customer.objectives;
  const acceptances = survivor.every((proof) => proof.ok) ? [] : ['survivor-unproven'];
  const lossMs = ageMs(source.point, Date.parse(disruptedAt));
  const decisions: Decisions = {
    format: 1,
    kind: 'failover',
    customer: customer.id,
    from: input.from,
    to: site.settings.site,
    epoch: nextEpoch(claimed.claims, Math.max(held, seen.claimed, seen.epoch?.number ?? 0)),
    disruptedAt,
    runbook: { name: runbook.name, digest: runbook.digest },
    ...applicable(withParties(runbook.steps, customer), customer.options),
    isolation,
    recoveryPoint: source.point,
    acceptedLossMs: lossMs > rpoMs ? lossMs : null,
    ...(acceptances.length > 0 && { acceptances }),
    users,
    approvers: approvers(operators.admitted),
    approvalsNeeded: APPROVALS_NEEDED,
  };
  return {
    decisions,
    digest: sha256(canonicalJson(decisions)),
    source,
    notTaken,
    ...(operators.notAdmitted.length > 0 && { notAdmitted: operators.notAdmitted }),
    rpoMs,
    rtoMs,
    targetRtoMs: customer.target.rtoMs,
    observed: seen.because,
    survivor,
    notes: notesOf(site, isolation),
    blockers: [
      ...blockers(customer, isolation),
      ...unperformed(decisions.steps),
      ...unconfigured(site.settings, decisions.steps),
    ],
    madeAt: new Date().toISOString(),
  };
}

/** What nobody is asked to accept, and everybody should know. */
function notesOf({ settings }: OwnSite, { verdict }: Isolation): string[] {
  const notes: string[] = [];
  if (!settings.witness) notes.push('no witness is configured: a lost site is never known to be dead');
  if (verdict === 'dead')
    notes.push(
      'dead is what its observers found: a site that is only cut off goes on serving whoever still reaches it',
    );
  return notes;
}

/** Everybody whom the run may have to listen to: those who approve, and those who may only retry a step or stop it. */
function approvers(operators: readonly Approver[]): Approver[] {
  return operators
    .filter((o) => o.roles.some((role) => role !== 'declare'))
    .map(({ id, key, roles, expires }) => ({
      id,
      key,
      roles: roles.toSorted(),
      ...(expires !== undefined && { expires }),
    }))
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
