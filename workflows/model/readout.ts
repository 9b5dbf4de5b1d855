import { rate } from './acceptances.ts';
import { whereToLook } from './forecast.ts';
import { signaturesNeeded } from './motions.ts';
import type { FailoverStatus, StepReport } from './moves.ts';
import type { Capacity, Decisions, Plan, RecoverySource } from './plan.ts';
import { forecastLine, grouped, minute, undeliveredLines, users } from './plan-lines.ts';
import { plannedReadout } from './planned-readout.ts';
import { endPhases, type Phase } from './phases.ts';
import { duration } from './rto.ts';

/** A plan and a clock as people read them at night: the same sentences on every screen. */

/** What is in no snapshot, whatever the plan. */
const NEVER_BACK = 'message archives and uploaded files of the lost site, shared rosters, private storage, vCards';

/** Whose users a planned move takes, with the cohorts that go along. */
export const whoMoves = ({ half, plan }: Pick<FailoverStatus, 'half' | 'plan'>): string =>
  [half, ...(plan?.decisions.cohorts ?? [])].join(' and ');

/** Whether people have still to decide: what helps them to is left out afterwards. */
const undecided = (phase?: Phase): boolean =>
  phase === undefined || phase === 'declared' || phase === 'planning' || phase === 'approving';

/**
 * What is lost, from where the rest comes, what the survivor can carry, and until when to decide. One sentence a line.
 * `phase`: of the move that has the plan; none when it is only looked at.
 */
export function readout(plan: Plan, phase?: Phase): string[] {
  const { planned } = plan.decisions;
  return [
    ...(planned ? plannedReadout(plan, planned) : failoverReadout(plan, phase)),
    ...(plan.notes ?? []).map((note) => `Note: ${note}.`),
    ...(plan.notAdmitted ?? []).map((o) => `Operator ${o.operator} does not count: ${o.because}.`),
    ...acceptanceLines(plan),
    ...plan.blockers.map((b) => `CANNOT BE APPROVED: ${b.text}.`),
  ];
}

function failoverReadout(plan: Plan, phase?: Phase): string[] {
  const { decisions, capacity, forecast } = plan;
  const from = decisions.again?.base === null ? [] : sourceLines(plan);
  return [
    ...lossLines(plan),
    ...from,
    ...notBack(plan),
    ...(capacity ? [capacityLine(decisions, capacity), linkLine(decisions, capacity)] : []),
    ...(undecided(phase) ? [...(forecast ? [forecastLine(forecast)] : []), ...decideByLines(plan)] : []),
  ];
}

/** Where the data comes from. */
function sourceLines(plan: Plan): string[] {
  const { source, fallback, notTaken } = plan;
  return [
    ...atWorst(plan),
    `Source: ${sourceText(source)}${source.applied && source.from !== 'standby-copy' ? ', already in the standby copy' : ''}.`,
    ...(fallback ? [`Should it fail: ${sourceText(fallback)}.`] : []),
    ...notTaken.map(({ from, because }) => `Not taken: ${from}: ${because}.`),
  ];
}

/** Who loses how much; nothing for a plan of an older version. */
export function lossLines({ loss }: Plan): string[] {
  if (!loss) return [];
  const { users: some, ms, withoutSnapshot, quarantined, exact } = loss;
  const others = [
    ...(withoutSnapshot > 0 ? [`${exact ? '' : 'about '}${grouped(withoutSnapshot)} have no snapshot`] : []),
    ...(quarantined > 0 ? [`${grouped(quarantined)} are quarantined`] : []),
  ];
  const told = `${exact ? '' : 'About '}${users(some)} lose at most ${duration(ms)} of changes`;
  return [`${[told, ...others].join('; ')}.`];
}

/** What whoever signs must name. */
export const acceptanceLines = ({ acceptances = [] }: Plan): string[] =>
  acceptances.map(({ name, because }) => `TO BE ACCEPTED BY NAME: ${name}: ${because}.`);

/** Signed may be an older point than the source gives: it is what they may get. */
function atWorst({ decisions, source }: Plan): string[] {
  const ms = Date.parse(decisions.disruptedAt) - Date.parse(decisions.recoveryPoint);
  return decisions.recoveryPoint === source.point
    ? []
    : [`Signed is the loss of up to ${duration(ms)}: recovery point ${decisions.recoveryPoint}.`];
}

const sourceText = ({ from, snapshot, point }: RecoverySource): string =>
  `${from}, snapshot ${snapshot.seq}, recovery point ${point}`;

function notBack(plan: Plan): string[] {
  const { steps, leftOut } = plan.decisions;
  const asked = steps.filter((s) => s.outsideRto).map((s) => s.id);
  return [
    `Will not come back: ${NEVER_BACK}.`,
    ...undeliveredLines(plan).map((line) => `${line}.`),
    ...(asked.length > 0 ? [`Outside the RTO, no time promised: ${asked.join(', ')}.`] : []),
    ...(leftOut && leftOut.length > 0
      ? [`Left out, not bought or not configured: ${leftOut.map(({ id, when }) => `${id} (${when})`).join(', ')}.`]
      : []),
  ];
}

function capacityLine({ to }: Decisions, { served, moves, users: limit }: Capacity): string {
  if (limit === null) return `Capacity of ${to}: not known, \`sites.${to}.capacity\` is not configured.`;
  if (served === null)
    return `Capacity of ${to}: ${users(limit)}; how many it serves now is not known, ${grouped(moves)} come.`;
  return `Capacity of ${to}: serves ${grouped(served)} now and gets ${grouped(moves)}, ${grouped(served + moves)} of ${grouped(limit)}.`;
}

function linkLine({ to, customer }: Decisions, capacity: Capacity): string {
  const { trafficBytesPerSecond: traffic, linkBytesPerSecond: link } = capacity;
  if (traffic === null || link === null)
    return `Link to ${to}: not known, \`customers.${customer}.${link === null ? 'links' : 'traffic'}\` is not configured.`;
  return `Link to ${to}: carries ${rate(link)}, all of the traffic takes ${rate(traffic)}.`;
}

/** Until when to sign; nothing while nobody can. */
export function decideByLines({ decideBy, targetRtoMs, rtoMs, blockers }: Plan): string[] {
  if (!decideBy || blockers.length > 0) return [];
  const { target, promise } = decideBy;
  return [
    `Sign by ${minute(target)} for the target of ${duration(targetRtoMs)}, by ${minute(promise)} at the latest for the promise of ${duration(rtoMs)}.`,
  ];
}

/** Where a move stands against its clock; empty before there is anything to say. */
export function paceLines(status: Partial<FailoverStatus>): string[] {
  const { plan, steps } = status;
  const through = throughAt(status);
  return [
    ...(plan && through
      ? [`Forecast: ${through}; the target is ${duration(plan.targetRtoMs)}, the promise ${duration(plan.rtoMs)}.`]
      : []),
    ...(steps ?? []).filter((s) => s.stuckAt !== undefined).map(stuckText),
  ];
}

/** Which services are back, and when; which are not yet, in one line. Nothing while people decide: none can be. */
export function serviceLines({ phase, services = [] }: Partial<FailoverStatus>): string[] {
  if (undecided(phase)) return [];
  const away = services.filter(({ stoppedAt }) => stoppedAt === null);
  const told = away.map(({ service, step }) => `${service} (step ${step})`);
  return [
    ...services.flatMap(({ service, step, stoppedAt, rtoMs }) =>
      stoppedAt === null
        ? []
        : [
            `${service}: back at ${minute(stoppedAt)}${rtoMs === null ? '' : `, ${duration(rtoMs)} after the loss`} (step ${step}).`,
          ],
    ),
    ...(told.length > 0 ? [`Not back yet: ${told.join(', ')}.`] : []),
  ];
}

/** When it is through, as it looks now: nobody knows that of a move that waits for people, and it is no news of one that ended. */
export function throughAt({ phase, pace, paused, steps = [] }: Partial<FailoverStatus>): string | null {
  if (!pace || phase === undefined || endPhases.includes(phase)) return null;
  const held = steps.filter(({ state }) => state === 'held').map(({ id }) => id);
  if (held.length > 0) return `none while ${held.join(' and ')} ${held.length > 1 ? 'are' : 'is'} held`;
  if (paused) return 'none while it is paused';
  return `through at ${minute(pace.endsAt)}, ${duration(pace.ms)} after the loss`;
}

export const stuckText = ({ id, act, stuckAt }: StepReport): string =>
  `STUCK since ${stuckAt?.slice(11, 16) ?? '?'} UTC: step ${id} is slower than it usually is; look at ${whereToLook[act]}.`;

/** What to do about a plan that nobody can sign as it is. */
export function blockedLines({ kind, phase, plan }: Partial<FailoverStatus>): string[] {
  if (phase !== 'approving' || !plan || plan.blockers.length === 0) return [];
  const option = kind === undefined ? '--isolation' : '--rule';
  return [
    `NOBODY CAN SIGN IT as it is. Mend what stands against it, and wait: the plan is made anew by itself, every 10 minutes at the latest. Where an option was left out (\`${option}\`), abort it, and start again with that.`,
  ];
}

/** What else than another round can be answered to a held step, and by how many; a step that waits for people waits for `done`. */
export function heldLines({ steps }: Pick<FailoverStatus, 'steps'>): string[] {
  return steps
    .filter(({ state, act }) => state === 'held' && act !== 'wait-for-operator')
    .map(({ id, act }) => {
      const by = signaturesNeeded('skip', act) === 2 ? 'two operators sign either' : 'one operator signs either';
      return `In place of retry, step ${id} can be passed over (skip: the move then ends with gaps) or called done by hand (done): ${by}, with \`--because TEXT\`.`;
    });
}
