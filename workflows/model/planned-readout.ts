import { halvesOf, type Plan } from './plan.ts';
import { homeOf, isCohort } from './half.ts';
import { wishes } from './conditions.ts';
import type { BroughtTogether, ConflictRule, PlannedMove, Reconciliation } from './planned-move.ts';
import { forecastLine, undeliveredLines, users } from './plan-lines.ts';
import { duration } from './rto.ts';

const rules: Record<ConflictRule, (from: string, half: string) => string> = {
  survivor: (from) => `what was changed at ${from} stands`,
  home: (_, half) => `what was changed at ${half} stands`,
  ask: (from) => `it stays as it is at ${from}, and is listed as open`,
};

/** A planned move as people read it: who moves, what becomes of both sides' changes, and how long nobody serves them. */
export function plannedReadout(plan: Plan, { half, keeps, reconcile, stayed, rehome }: PlannedMove): string[] {
  const halves = halvesOf(plan.decisions).join(' and ');
  const { decisions, source, forecast } = plan;
  const { from, to, steps } = decisions;
  // What nobody has asked for is not missed.
  const leftOut = (decisions.leftOut ?? []).filter(({ when }) => !(wishes as readonly string[]).includes(when));
  return [
    `Nothing is lost: the last copy of ${users(decisions.users)} is taken after the last change that they can make at ${from}.`,
    ...(source.applied ? [`${to} holds snapshot ${source.snapshot.seq} of ${from}, of ${source.point}.`] : []),
    ...reconcileLines(from, { half, halves }, reconcile, plan.blockers),
    ...(stayed ?? []).map((one) => stayedLine({ from, to }, one)),
    ...(rehome ? [rehomeLine(decisions)] : []),
    ...(keeps.length > 0 ? [`${to} goes on serving users of ${keeps.join(', ')}.`] : []),
    unreachableLine(plan),
    ...(forecast ? [forecastLine(forecast)] : []),
    ...undeliveredLines(plan).map((line) => `${line}.`),
    ...(leftOut.length > 0
      ? [`Left out, not bought or not configured: ${leftOut.map(({ id, when }) => `${id} (${when})`).join(', ')}.`]
      : []),
    ...(steps.some((s) => s.outsideRto)
      ? [`No time promised: ${steps.flatMap((s) => (s.outsideRto ? [s.id] : [])).join(', ')}.`]
      : []),
  ];
}

/** The last word of the plan's that people would wish to have read. */
function rehomeLine({ from, to, cohorts = [], ...rest }: Plan['decisions']): string {
  const halves = halvesOf({ from, cohorts, ...rest });
  const ended = halves.filter(isCohort);
  const told = ended.length > 0 ? ` ${ended.join(' and ')} ${ended.length > 1 ? 'end' : 'ends'} with it.` : '';
  return `FOR GOOD: ${to} becomes the home of all users of ${halves.join(' and ')}, at both sites: whoever of them is to be at home at ${from} again moves there by a relocate of its own.${told}`;
}

function reconcileLines(
  from: string,
  { half, halves }: { half: string; halves: string },
  reconcile: Reconciliation | null,
  blockers: Plan['blockers'],
): string[] {
  if (!reconcile) return [];
  const { rule, salvage } = reconcile;
  // A plan that is made without a rule has one all the same, and cannot be approved.
  const said = !blockers.some(({ text }) => text.includes('`--rule'));
  const counts = said ? rules[rule](from, homeOf(half)) : 'nobody has said yet whose change counts';
  return [
    `Unsent changes of ${halves}, under epoch ${salvage.epoch}, are brought together with those of ${from}: where both changed the same, ${counts}; who is blocked on either side stays blocked.`,
  ];
}

/** Whatever the rule says of the destination, which is not their home: what was changed where they are is what counts. */
const stayedLine = ({ from, to }: Record<'from' | 'to', string>, { halves, reconcile }: BroughtTogether): string =>
  `Users of ${halves.join(' and ')} stay at ${from}: what was changed for them at ${to}, under epoch ${reconcile.salvage.epoch}, is brought into their lists as well; where both changed the same, ${rules[reconcile.rule](from, from)}; who is blocked on either side stays blocked.`;

/** From the draining to the hand-over; by the forecast of the steps between them. */
function unreachableLine({ decisions: { steps }, forecast }: Plan): string {
  const drain = steps.find((s) => s.act === 'drain-sessions');
  const serve = steps.find((s) => s.act === 'serve-users');
  const last = steps.filter((s) => s.act === 'take-snapshot' && drain && s.needs.includes(drain.id));
  const ids = [drain, ...last, serve].flatMap((s) => (s ? [s.id] : []));
  const ms = ids.reduce((sum, id) => sum + (forecast?.steps.find((s) => s.id === id)?.ms ?? 0), 0);
  return `Its users are served nowhere from step ${drain?.id ?? '(none)'} to step ${serve?.id ?? '(none)'}: about ${duration(ms)}; clients come back by themselves.`;
}
