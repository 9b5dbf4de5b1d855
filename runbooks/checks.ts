import { actRules, requiredActs, type MoveKind } from '../workflows/model/acts.ts';
import { conditionsOf } from '../workflows/model/applicable.ts';
import { duration } from '../workflows/model/rto.ts';
import type { Step } from '../workflows/model/plan.ts';
import { behind, outOfOrder } from './order.ts';

/** What is promised to customers (SERVICE); a runbook that cannot keep it with one attempt a step never will. */
export const PROMISED_RTO_MS = 24 * 3_600_000;

/** A fault of a step, at one of its fields; `step` null: of the runbook as a whole. */
export interface StepFault {
  step: string | null;
  field: 'act' | 'needs' | 'when' | 'within' | 'outside-rto';
  text: string;
}

/** What is wrong with steps that can be read, for a move of this kind that is promised within `rtoMs`. */
export function stepFaults(steps: readonly Step[], kind: MoveKind, rtoMs: number): StepFault[] {
  return [
    ...steps.flatMap((step) => ofStep(step, steps, kind)),
    ...outOfOrder(steps, kind).map(({ step, text }) => ({ step, field: 'needs' as const, text })),
    ...unarchived(steps),
    ...uncopied(steps, kind),
    ...tooLong(steps, kind, rtoMs),
  ];
}

function ofStep(step: Step, steps: readonly Step[], kind: MoveKind): StepFault[] {
  const { id, act, when, withinMs, timeoutMs, outsideRto } = step;
  const faults: StepFault[] = [];
  const { kinds } = actRules[act];
  if (!kinds.includes(kind))
    faults.push({
      step: id,
      field: 'act',
      text: `${act} has no place in a ${kind}; it may stand in ${kinds.join(', ')}`,
    });
  if (when !== undefined && requiredActs[kind].includes(act))
    faults.push({
      step: id,
      field: 'when',
      text: `${act} is done for every customer, not only for those with ${conditionsOf(step).join(' and ')}`,
    });
  if (withinMs !== undefined && withinMs < timeoutMs)
    faults.push({
      step: id,
      field: 'within',
      text: `${duration(withinMs)} is less than one attempt may take, ${duration(timeoutMs)}`,
    });
  const waits = steps.find((s) => outsideRto && !s.outsideRto && s.needs.includes(id));
  if (waits) faults.push({ step: id, field: 'outside-rto', text: `${waits.id} needs it, and stands within the RTO` });
  return faults;
}

/** Nothing is delivered unarchived (SERVICE): archiving stands before anybody is served. */
function unarchived(steps: readonly Step[]): StepFault[] {
  const archiving = steps.filter((s) => s.act === 'enable-service' && s.service === 'archiving');
  return steps
    .filter((s) => s.act === 'serve-users')
    .flatMap((serve) =>
      archiving
        .filter((a) => !behind(steps, serve).has(a.id))
        .map((a) => ({
          step: serve.id,
          field: 'needs' as const,
          text: `serve-users must need ${a.id} (archiving), itself or through others: nothing is delivered unarchived`,
        })),
    );
}

/** What users change up to the draining goes along: a copy is taken after it, and before they are served elsewhere. */
function uncopied(steps: readonly Step[], kind: MoveKind): StepFault[] {
  if (kind !== 'relocate' && kind !== 'failback') return [];
  const drain = steps.find((s) => s.act === 'drain-sessions');
  const copies = steps.filter((s) => s.act === 'take-snapshot' && drain && behind(steps, s).has(drain.id));
  return steps
    .filter((s) => s.act === 'serve-users')
    .filter((serve) => drain && !copies.some((copy) => behind(steps, serve).has(copy.id)))
    .map((serve) => ({
      step: serve.id,
      field: 'needs' as const,
      text: `serve-users must need a take-snapshot that needs ${drain?.id} (drain-sessions): the last changes are brought over in between`,
    }));
}

/** The longest way through the steps within the RTO, one attempt each; people are not counted. */
function tooLong(steps: readonly Step[], kind: MoveKind, rtoMs: number): StepFault[] {
  if (kind !== 'failover' && kind !== 'evacuation') return [];
  const longest = new Map<string, { ms: number; path: string[] }>();
  const wayTo = (step: Step): { ms: number; path: string[] } => {
    const known = longest.get(step.id);
    if (known) return known;
    const before = steps
      .filter((s) => step.needs.includes(s.id))
      .map(wayTo)
      .reduce((a, b) => (b.ms > a.ms ? b : a), { ms: 0, path: [] });
    const own = step.act === 'wait-for-operator' ? 0 : (step.withinMs ?? step.timeoutMs);
    const way = { ms: before.ms + own, path: [...before.path, step.id] };
    longest.set(step.id, way);
    return way;
  };
  return steps
    .filter((s) => !s.outsideRto)
    .map(wayTo)
    .filter(({ ms }) => ms > rtoMs)
    .toSorted((a, b) => b.ms - a.ms)
    .slice(0, 1)
    .map(({ ms, path }) => ({
      step: path.at(-1) ?? null,
      field: 'needs',
      text: `up to here it may take ${duration(ms)}, and the promised RTO is ${duration(rtoMs)}: ${path.join(' → ')}`,
    }));
}
