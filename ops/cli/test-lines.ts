import type { LiveWalk, TestReceipt, TestTimes } from '../../workflows/model/continuity.ts';
import { duration } from '../../workflows/model/rto.ts';
import { Fault } from '../fault.ts';
import { plain } from './print.ts';

/** A receipt on a screen. */
export function receiptLines(r: TestReceipt): string[] {
  const took = duration(Date.parse(r.endedAt) - Date.parse(r.startedAt));
  const { residue, times, paper, quarantined, accounts } = r;
  return [
    `${r.outcome}: ${r.kind} test of ${r.customer} at ${r.site}, ${r.endedAt}, in ${took}${r.outcome === 'passed' ? '' : `: ${r.because}`}`,
    ...(r.snapshot
      ? [
          `  snapshot ${r.snapshot.seq} of ${r.snapshot.site}, recovery point ${r.point}`,
          `  ${r.counts.users} users, ${r.counts.contacts} contacts, ${r.counts.aclItems} ACL items compared; ${r.mismatches} rows differ`,
        ]
      : []),
    ...(quarantined === undefined
      ? []
      : [`  ${quarantined} users would wait for an operator: their block list cannot be read`]),
    ...(accounts ? [`  ${accounts.without} of ${accounts.users} users have no account at ${r.site}`] : []),
    ...(times && r.snapshot ? [`  ${timesLine(times)}`] : []),
    ...(paper
      ? [
          `  plan ${paper.digest ?? 'could not be made'}, ${paper.steps.length} steps, forecast ${paper.forecastMs === null ? '-' : duration(paper.forecastMs)}`,
          ...paper.blockers.map((b) => `  would be stopped: ${b}`),
          ...paper.asks.map((a) => `  would have to be accepted: ${a}`),
          ...paper.people.map(
            (p) => `  ${p.id}: ${p.confirmedBy === null ? 'NOT confirmed' : `confirmed by ${p.confirmedBy}`}`,
          ),
        ]
      : []),
    ...(r.live ? liveLines(r.live) : []),
    ...(residue?.removed ?? []).map((what) => `  removed before it began: ${what}`),
    ...(residue?.left ?? []).map((what) => `  LEFT: ${what}`),
    ...r.notTested.map((n) => `  not tested: ${n}`),
  ].map(plain);
}

function liveLines({ cohort, went, back, hereMs, users, unserved, services }: LiveWalk): string[] {
  if (went === null) return [`  users of ${cohort} did not come`];
  return [
    hereMs === null
      ? `  users of ${cohort} came by move ${went}; the test was ended before they were looked at`
      : `  ${users} users of ${cohort} came by move ${went}, looked at for ${duration(hereMs)}; ${unserved === 0 ? 'all were served' : `${unserved} were NOT served`}`,
    ...services.map((s) => `  ${s.service}: ${s.ok ? `works, ${s.ms} ms` : `does NOT work: ${s.because ?? ''}`}`),
    back === null ? '  they are NOT home again' : `  they went home by move ${back}`,
  ];
}

function timesLine({ restoreMs, rtoMs, pointAgeMs, rpoMs, forecastMs, tookOver }: TestTimes): string {
  const age = pointAgeMs === null ? '-' : `${duration(pointAgeMs)}${tookOver ? '' : ` of ${duration(rpoMs)}`}`;
  const restore = restoreMs === null ? '-' : `${duration(restoreMs)} of ${duration(rtoMs)}`;
  return `recovery point ${age} old; restored in ${restore}; a failover is forecast to take ${forecastMs === null ? '-' : duration(forecastMs)}`;
}

/** Of an option: `4h`, `90m`, or 0 for not at all. */
export function durationOf(text: string): number {
  const match = /^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$/.exec(text);
  const [, h = 0, m = 0, s = 0] = match ?? [];
  const ms = ((Number(h) * 60 + Number(m)) * 60 + Number(s)) * 1000;
  if (text === '0' || (match && ms > 0 && ms <= 11 * 3_600_000)) return ms;
  throw new Fault(
    `--confirm-within ${text}: a duration up to 11h is allowed, or 0`,
    'Write 8h, 90m, or 0 to wait for nobody.',
  );
}
