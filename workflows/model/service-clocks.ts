import type { ServiceClock, StepReport } from './moves.ts';
import type { Step } from './plan.ts';
import type { Timestamp } from './snapshots.ts';

/** The RTO clock of each service: it stops at the probe that found it working, and at nothing else (DESIGN 4). */
export function serviceClocks(
  steps: readonly Step[],
  reports: readonly StepReport[],
  disruptedAt: Timestamp,
): ServiceClock[] {
  return steps.flatMap(({ id, act, service }) => {
    if (act !== 'probe' || service === undefined) return [];
    const report = reports.find((r) => r.id === id);
    const stoppedAt = report?.state === 'done' ? report.endedAt : null;
    const rtoMs = stoppedAt === null ? null : Date.parse(stoppedAt) - Date.parse(disruptedAt);
    return [{ service, step: id, stoppedAt, rtoMs }];
  });
}
