import type { Again } from '../../workflows/model/again.ts';
import { acceptancesOf } from '../../workflows/model/acceptances.ts';
import { applicable } from '../../workflows/model/applicable.ts';
import { canPerform } from '../../workflows/model/acts.ts';
import type {
  Approver,
  Capacity,
  Decisions,
  Isolation,
  Named,
  Plan,
  Runbook,
  Step,
} from '../../workflows/model/plan.ts';
import { byName } from '../../workflows/model/half.ts';
import { ageMs, type Timestamp } from '../../workflows/model/snapshots.ts';
import { sawClosed } from '../../workflows/model/verdict.ts';
import { unprobed } from '../probes/services/step.ts';
import type { ForkLines } from '../../workflows/model/fork.ts';
import type { CustomerSettings } from '../settings.ts';
import { blockedAgain, type FoundAgain } from './again.ts';
import { cannotEnable } from './enable.ts';
import { partsOf, unconfigured, withParties } from './configured.ts';
import { blockedByFork } from './fork.ts';
import type { LedgerCounts } from './loss.ts';
import { withWaits } from './self-fenced.ts';
import type { OwnSite } from './site.ts';

/** From what was seen to what people sign, and why they could not. */

/** Two people, always (DESIGN 4). */
export const APPROVALS_NEEDED = 2;

/** What was seen, as far as people decide by it. */
export interface World {
  /** Whose users move. */
  half: string;
  /** Who move along. */
  cohorts: string[];
  disruptedAt: Timestamp;
  epoch: number;
  runbook: Runbook;
  isolation: Isolation;
  oldest: Timestamp;
  users: number;
  servingSeenBy: string | null;
  /** Set when this site serves them already. */
  again: Again | null;
  /** Set when its database may have them as they were long ago. */
  doubt: string | null;
  ownUnserved: number;
  othersThere: readonly string[];
  capacity: Capacity;
  /** What the survivor could not prove of itself. */
  unproven: readonly string[];
  /** Who counts as an operator here. */
  operators: readonly Approver[];
}

export function decide(
  site: OwnSite,
  customer: CustomerSettings,
  world: World,
): { looked: Decisions; accepted: Named[] } {
  const { disruptedAt, epoch, runbook, isolation, oldest, users } = world;
  const { rpoMs } = customer.objectives;
  const [from, to] = [customer.peer, site.settings.site];
  // Where nothing is restored, nothing is lost by it.
  const lossMs = world.again?.base === null ? 0 : ageMs(oldest, Date.parse(disruptedAt));
  const acceptedLossMs = lossMs > rpoMs ? lossMs : null;
  const accepted = acceptancesOf({ ...world, from, to, acceptedLossMs, rpoMs });
  const parts = partsOf(site.settings, customer, world.half);
  const { steps, ...leftOut } = applicable(withParties(runbook.steps, customer), [...customer.options, ...parts]);
  const looked: Decisions = {
    format: 1,
    kind: 'failover',
    customer: customer.id,
    from,
    to,
    epoch,
    disruptedAt,
    runbook: { name: runbook.name, digest: runbook.digest },
    ...leftOut,
    steps: withWaits(steps, isolation, site.settings, customer),
    isolation,
    recoveryPoint: oldest,
    acceptedLossMs,
    ...(accepted.length > 0 && { acceptances: accepted.map(({ name }) => name) }),
    users,
    ...(world.half !== from && { half: world.half }),
    ...(world.cohorts.length > 0 && { cohorts: world.cohorts }),
    ...(world.again && { again: world.again }),
    approvers: approvers(world.operators),
    approvalsNeeded: APPROVALS_NEEDED,
  };
  return { looked, accepted };
}

/** Null when nobody did. */
export function whoSawItServe({ verdict, observers }: Isolation): string | null {
  if (verdict !== 'serving') return null;
  return observers.flatMap(({ name, saw }) => (saw === 'serving' ? [name] : [])).join(', ');
}

/** Why nobody can approve: what nobody knows of the source, and steps that would hold the move in the middle. */
export function blockersOf(
  site: OwnSite,
  customer: CustomerSettings,
  {
    half,
    isolation,
    steps,
    fork,
    ledger,
    again,
  }: Pick<Decisions, 'isolation' | 'steps'> & {
    half: string;
    fork: ForkLines | null;
    ledger: Pick<LedgerCounts, 'servedHere' | 'othersThere'>;
    again: FoundAgain | null;
  },
  servingAccepted: boolean,
): Plan['blockers'] {
  return [
    ...blockedByFork(fork),
    ...undecided(customer, isolation, servingAccepted),
    ...otherHalf(site.settings.site, customer, half, ledger),
    ...blockedAgain(again),
    ...unperformed(steps),
    ...unconfigured(site.settings, customer, steps),
    ...unprobed(customer, probedPlace(site, half), steps),
  ];
}

/** Whoever is served here is not lost, while others are with the lost site: their contacts would be set back for nothing. */
function otherHalf(
  own: string,
  { peer }: CustomerSettings,
  half: string,
  { servedHere, othersThere }: Pick<LedgerCounts, 'servedHere' | 'othersThere'>,
): Plan['blockers'] {
  const others = byName(othersThere);
  if (!servedHere || others.length === 0) return [];
  const named = others.map((other) => `\`--half ${other}\``).join(', then ');
  return [{ kind: 'already-served', text: `${own} serves users of ${half} itself; those whom ${peer} has: ${named}` }];
}

/** Where the users of the lost half will be. */
const probedPlace = ({ settings: { site, services } }: OwnSite, half: string) => ({
  site,
  half,
  provisions: Boolean(services.get(site)?.management),
});

/** Everybody whom the run may have to listen to: those who approve, and those who may only retry a step or stop it. */
export function approvers(operators: readonly Approver[]): Approver[] {
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

/**
 * A site that is seen to serve is moved away from only when the declarer asks for it and says how it is cut off; those
 * who sign then accept that by name.
 */
function undecided({ peer }: CustomerSettings, isolation: Isolation, servingAccepted: boolean): Plan['blockers'] {
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
export function unperformed(steps: readonly Step[]): Plan['blockers'] {
  const missing: Plan['blockers'] = steps
    .filter(({ act }) => !canPerform(act))
    .map(({ id, act }) => ({ kind: 'act-missing', text: `step ${id}: this version does not perform ${act}` }));
  return [...missing, ...cannotEnable(steps)];
}
