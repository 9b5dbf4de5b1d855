import type { TestKind, LiveWalk, PaperWalk, TestOutcome, TestReceipt, TestTimes } from './continuity.ts';
import type { FailureKind } from './failures.ts';
import { duration } from './rto.ts';
import type { SnapshotCounts } from './snapshots.ts';

/** What a test has come to, by what its parts found. */

export const NO_COUNTS: SnapshotCounts = { users: 0, contacts: 0, groups: 0, lists: 0, aclItems: 0, defaults: 0 };

/** Found by the part that was held; `failed`: it could not be held to its end. */
export interface Found {
  counts: SnapshotCounts;
  mismatches: number;
  quarantined?: number;
  restoreMs: number | null;
  compareMs: number | null;
  paper?: PaperWalk;
  live?: LiveWalk;
  failed?: string;
}

export const nothingFound: Found = { counts: NO_COUNTS, mismatches: 0, restoreMs: null, compareMs: null };

/** Why a test ends before its time. */
export interface Ended {
  outcome: 'aborted' | 'superseded';
  because: string;
}

type Against = readonly [kind: FailureKind, text: string];

export interface Judged {
  outcome: TestOutcome;
  because: string;
  kind: FailureKind;
}

interface Case {
  found: Found;
  ended: Ended | null;
  left: readonly string[];
  times: TestTimes | undefined;
  accounts: TestReceipt['accounts'];
}

/** All that speaks against it, the kind by the first; what ended it early goes before everything. */
export function judge({ found, ended, left, times, accounts }: Case): Judged {
  if (ended) return { outcome: ended.outcome, because: [ended.because, ...left].join('; '), kind: 'test-failed' };
  const differ = `${found.mismatches} rows differ from the records of the vault`;
  const without = `${accounts?.without} of ${accounts?.users} users have no account here`;
  const against: Against[] = [
    ...when(found.mismatches > 0, 'restore-differs', differ),
    ...when(found.failed !== undefined, 'test-failed', found.failed ?? ''),
    ...left.map((text): Against => ['test-failed', text]),
    ...(times ? lateBy(times) : []),
    ...when((accounts?.without ?? 0) > 0, 'test-failed', without),
    ...(found.paper ? missing(found.paper) : []),
    ...(found.live ? wrong(found.live) : []),
  ];
  const [first] = against;
  if (!first) return { outcome: 'passed', because: '', kind: 'test-failed' };
  return { outcome: 'failed', because: against.map(([, text]) => text).join('; '), kind: first[0] };
}

const when = (holds: boolean, kind: FailureKind, text: string): Against[] => (holds ? [[kind, text]] : []);

function lateBy({ restoreMs, rtoMs, pointAgeMs, rpoMs, tookOver }: TestTimes): Against[] {
  const [took, promised] = [duration(restoreMs ?? 0), duration(rtoMs)];
  const [old, allowed] = [duration(pointAgeMs ?? 0), duration(rpoMs)];
  return [
    ...when((restoreMs ?? 0) > rtoMs, 'test-failed', `the restore alone took ${took}, beyond the RTO of ${promised}`),
    ...when(
      (pointAgeMs ?? 0) > rpoMs && !tookOver,
      'test-failed',
      `the recovery point was ${old} old, beyond the RPO of ${allowed}`,
    ),
  ];
}

function missing({ blockers, people }: PaperWalk): Against[] {
  const open = people.filter(({ confirmedBy }) => confirmedBy === null).map(({ id }) => id);
  const unconfirmed = `nobody confirmed ${open.length} of ${people.length} steps: ${open.join(', ')}`;
  return [
    ...blockers.map((text): Against => ['test-failed', `a failover would be stopped: ${text}`]),
    ...when(open.length > 0, 'test-failed', unconfirmed),
  ];
}

function wrong({ cohort, went, back, users, unserved, services }: LiveWalk): Against[] {
  const broken = services.filter(({ ok }) => !ok);
  return [
    ...when(went === null, 'test-failed', `users of ${cohort} did not come`),
    ...when(went !== null && back === null, 'test-failed', `users of ${cohort} are not home again`),
    ...when(unserved > 0, 'test-failed', `${unserved} of ${users} users of ${cohort} were not served`),
    ...broken.map(({ service, because }): Against => ['test-failed', `${service} did not work: ${because ?? ''}`]),
  ];
}

/** Of every test of a kind, whatever it found. */
export function notTested(kind: TestKind, { accounts, live }: Pick<TestReceipt, 'accounts' | 'live'> = {}): string[] {
  if (kind === 'tabletop')
    return [
      'everything that a machine does: nothing was restored, moved or steered',
      'whether people do what they confirmed',
    ];
  if (kind === 'live')
    return [
      'a lost site: both were there, and nothing was restored',
      ...(live && live.hereMs === null ? ['how the cohort is served here: nobody has looked'] : []),
      ...(live && live.hereMs !== null && live.services.length === 0
        ? ['the services: none is looked at for this cohort']
        : []),
      'users who are not in the cohort',
      'archives and uploaded files',
    ];
  return [
    'the service itself: no user was moved, nobody signed in',
    ...(accounts === null ? ['whether users have accounts here: none can be counted'] : []),
    'steering of traffic',
    'archives and uploaded files',
  ];
}
