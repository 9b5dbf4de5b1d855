import type { Act } from './acts.ts';
import { behind, type StepReport } from './moves.ts';
import type { Forecast, Step } from './plan.ts';

/** How long a step took when it was done: one round, without what it waited for people. */
export interface StepTime {
  /** As `timeKey` names it. */
  key: string;
  ms: number;
  /** Users of that move. */
  users: number;
}

/** The last so many of each kind count: older ones tell of other machines and other sizes. */
export const MEASURED = 20;

/** Below so many users the fixed part of a step is what was measured. */
const LEAST_USERS = 1000;

/** What the times below are for. */
const USUAL_USERS = 20_000;

const S = 1000;
const usual = (ms: number, p75Ms: number, perUser = false): Usual => ({ ms: ms * S, p75Ms: p75Ms * S, perUser });

interface Usual {
  ms: number;
  p75Ms: number;
  /** Grows with the users of the move; the times are for USUAL_USERS. */
  perUser: boolean;
}

/** What an act takes where nothing was measured yet, median and p75: rather too long than too short. */
const usualTimes: Record<Act, Usual> = {
  'advance-epoch': usual(3, 6),
  'fence-site': usual(5, 10),
  'open-site': usual(3, 6),
  'salvage-contacts': usual(60, 120, true),
  'take-snapshot': usual(30, 60, true),
  'restore-contacts': usual(60, 120, true),
  'reconcile-contacts': usual(60, 120, true),
  'apply-entitlements': usual(30, 60, true),
  'serve-users': usual(2, 4),
  'rehome-users': usual(30, 120),
  'drain-sessions': usual(60, 120),
  'shift-dns': usual(10, 30),
  'shift-proxy': usual(5, 15),
  'enable-service': usual(15, 45),
  'disable-service': usual(15, 45),
  probe: usual(30, 60, true),
  'check-parity': usual(5, 10),
  'reconcile-archive': usual(300, 600, true),
  'request-external-update': usual(5, 15),
  notify: usual(3, 10),
  'wait-for-operator': usual(0, 0),
  'call-http': usual(10, 30),
  'run-command': usual(30, 60),
};

/** What times are collected by: a probe of one service says nothing of another. */
export const timeKey = ({ act, service }: Pick<Step, 'act' | 'service'>): string =>
  act === 'probe' && service !== undefined ? `probe ${service}` : act;

/** Times a number of users to another; small moves count as LEAST_USERS. */
const scale = (users: number, of: number): number => Math.max(users, LEAST_USERS) / Math.max(of, LEAST_USERS);

/** The value that a share of the sorted numbers does not exceed (nearest rank). */
function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
}

/** What a step is expected to take, by the newest times of its kind (`times`: newest first), else by the table. */
function expected(step: Step, users: number, times: readonly StepTime[]): Forecast['steps'][number] {
  const { ms, p75Ms, perUser } = usualTimes[step.act];
  // What is waited for a source that cannot be closed was not waited for one that could.
  const { waitsMs = 0 } = step;
  const ofIts = waitsMs > 0 ? [] : times.filter(({ key }) => key === timeKey(step)).slice(0, MEASURED);
  const sorted = ofIts.map((t) => t.ms * (perUser ? scale(users, t.users) : 1)).toSorted((a, b) => a - b);
  if (sorted.length > 0 && step.act !== 'wait-for-operator') {
    const [median, slow] = [quantile(sorted, 0.5), quantile(sorted, 0.75)].map(Math.round) as [number, number];
    return { id: step.id, ms: median, p75Ms: slow, basis: `measured ${sorted.length}` };
  }
  const by = perUser ? scale(users, USUAL_USERS) : 1;
  return {
    id: step.id,
    ms: Math.round(ms * by) + waitsMs,
    p75Ms: Math.round(p75Ms * by) + waitsMs,
    basis: 'default',
  };
}

/** How long a walk of these steps takes, from the signatures to the last probe inside the RTO: the longest way through. */
export function makeForecast(steps: readonly Step[], users: number, times: readonly StepTime[]): Forecast {
  const each = steps.map((step) => expected(step, users, times));
  const of = (id: string) => each.find((e) => e.id === id);
  return {
    ms: longest(steps, (id, begin) => begin + (of(id)?.ms ?? 0), 0),
    p75Ms: longest(steps, (id, begin) => begin + (of(id)?.p75Ms ?? 0), 0),
    steps: each,
    waits: steps.filter((s) => s.act === 'wait-for-operator' && !s.outsideRto).map((s) => s.id),
  };
}

/** When the last step inside the RTO ends, given when each ends that may begin at a time. */
function longest(steps: readonly Step[], endOf: (id: string, begin: number) => number, start: number): number {
  const ends = new Map<string, number>();
  const end = (step: Step): number => {
    const known = ends.get(step.id);
    if (known !== undefined) return known;
    ends.set(step.id, start); // A circle is the linter's to refuse; here it must not run for ever.
    const begin = Math.max(start, ...steps.filter((s) => step.needs.includes(s.id)).map(end));
    const at = endOf(step.id, begin);
    ends.set(step.id, at);
    return at;
  };
  return Math.max(start, ...steps.filter((s) => !s.outsideRto).map(end));
}

/**
 * When a move that is under way is expected to be through, in ms since the epoch of time: what is done counts as it ended,
 * what runs as begun, what is held as if an operator answered now.
 */
export function endsAt(
  steps: readonly Step[],
  reports: readonly StepReport[],
  forecast: Pick<Forecast, 'steps'>,
  now: number,
): number {
  const ms = (id: string): number => forecast.steps.find((s) => s.id === id)?.ms ?? 0;
  const time = (at: string | null | undefined): number => (at ? Date.parse(at) : now);
  const last = steps.filter((s) => !s.outsideRto).every(({ id }) => over(reports.find((r) => r.id === id)));
  const end = (id: string, begin: number): number => {
    const report = reports.find((r) => r.id === id);
    if (over(report)) return time(report?.endedAt);
    if (report?.state === 'running') return Math.max(now, time(report.since ?? report.startedAt) + ms(id));
    return Math.max(now, begin) + ms(id);
  };
  return longest(steps, end, last ? 0 : now);
}

/** Behind us, or given up for good. */
const over = (report: StepReport | undefined): boolean =>
  report !== undefined && (behind(report) || report.state === 'failed');

/**
 * A quarter of all runs is slower than p75: half a minute past it, a step is no longer one of those, and nobody could have
 * done anything about it sooner.
 */
const STUCK_SLACK_MS = 30_000;

/** After how long a running step is called stuck; null for one that waits for people. */
export function stuckAfterMs(step: Step, forecast: Forecast | undefined): number | null {
  if (step.act === 'wait-for-operator') return null;
  const known = forecast?.steps.find((s) => s.id === step.id);
  return known ? known.p75Ms + STUCK_SLACK_MS : null;
}

/** Where to look when a step of this act does not come to its end. */
export const whereToLook: Record<Act, string> = {
  'advance-epoch': 'this site’s database and vault, and what observes the other one',
  'fence-site': 'the ways in which the site is fenced: its database, power, link',
  'open-site': 'the site’s database',
  'salvage-contacts': 'the other site’s database and vault',
  'take-snapshot': 'this site’s database and vault',
  'restore-contacts': 'the database’s locks and disk, and the vault it is read from',
  'reconcile-contacts': 'the database’s locks and disk, and the vaults',
  'apply-entitlements': 'the customer’s directory',
  'serve-users': 'the database: who holds the lock on its epoch',
  'rehome-users': 'the newest snapshot of the destination, and whether this site has applied it',
  'drain-sessions': 'the service’s API, and sessions that do not end',
  'shift-dns': 'the name server, and the key of its updates',
  'shift-proxy': 'the proxy’s admin address',
  'enable-service': 'the service that is to be enabled',
  'disable-service': 'the service that is to be disabled',
  probe: 'the service that is probed, as its users find it',
  'check-parity': 'the settings of both sites’ message filter',
  'reconcile-archive': 'the archive’s disk and load',
  'request-external-update': 'the party’s way of taking requests',
  notify: 'the channel: webhook or mail server',
  'wait-for-operator': 'who is asked',
  'call-http': 'the service that is called',
  'run-command': 'the command’s process at this site',
};
