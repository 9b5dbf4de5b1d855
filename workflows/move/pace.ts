import { CancellationScope, isCancellation, sleep } from '@temporalio/workflow';
import { endsAt, stuckAfterMs } from '../model/forecast.ts';
import type { Step } from '../model/plan.ts';
import { stuckText } from '../model/readout.ts';
import { alarms, duration } from '../model/rto.ts';
import type { Run } from './run.ts';

/** From when the RTO counts. */
export const clockFrom = ({ plan, disruptedAt }: Pick<Run, 'plan' | 'disruptedAt'>): string =>
  plan?.clock?.from ?? disruptedAt;

/**
 * Looks ahead, after every step: when will the run be through? Rings once when that is later than the target, and once for
 * the promise, as long as they are not over anyway.
 */
export function lookAhead(run: Run): void {
  const { decisions, forecast, targetRtoMs, rtoMs } = run.currentPlan;
  if (!forecast || decisions.planned) return; // A plan of an older version, or of a move that nobody's loss waits for.
  const lost = Date.parse(clockFrom(run));
  const end = endsAt(decisions.steps, run.steps, forecast, Date.now());
  run.pace = { endsAt: new Date(end).toISOString(), ms: end - lost };
  for (const [what, limitMs] of [
    ['RTO target', targetRtoMs],
    ['promised RTO', rtoMs],
  ] as const) {
    const text = `the forecast passes the ${what}`;
    const known = run.alarms.some((a) => a.text.startsWith(text));
    if (known || end <= lost + limitMs || Date.now() > lost + limitMs) continue;
    run.alarm(`${text} of ${duration(limitMs)}: through ${duration(end - lost)} after the loss, as it looks now`);
  }
}

/** The alarms that the clock has yet to ring; of those already past only the latest, which says it all. */
export function alarmsAhead(run: Run): { atMs: number; text: string }[] {
  const { targetRtoMs, rtoMs } = run.currentPlan;
  const all = alarms(Date.parse(clockFrom(run)), targetRtoMs, rtoMs);
  const past = all.filter((a) => a.atMs <= Date.now());
  return [...past.slice(-1), ...all.filter((a) => a.atMs > Date.now())];
}

/** Waits for a round of a step, and calls it stuck, once, when it takes longer than it usually does. One timer a round. */
export async function atItsPace<T>(run: Run, step: Step, round: Promise<T>): Promise<T> {
  const afterMs = stuckAfterMs(step, run.currentPlan.forecast);
  if (afterMs === null) return round;
  const report = run.step(step.id);
  const timer = new CancellationScope({ cancellable: true });
  timer
    .run(async () => {
      await sleep(afterMs, { summary: `step ${step.id} is usually done by then` });
      report.stuckAt = new Date(Date.now()).toISOString();
      run.alarm(stuckText(report));
      run.flush().catch(() => undefined); // A journal that fails for good ends the run where it waits.
    })
    .catch((error: unknown) => {
      if (!isCancellation(error)) throw error;
    });
  try {
    return await round;
  } finally {
    timer.cancel();
    delete report.stuckAt;
  }
}
