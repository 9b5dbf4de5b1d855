import { countsFor, type CountedKind, type TestReceipt } from './continuity.ts';
import type { Timestamp } from './snapshots.ts';

/** When continuity tests are due, and when they may not be held. All times are UTC. */

/** From `from` until just before `to` no test is held. */
export interface Blackout {
  from: Timestamp;
  to: Timestamp;
  because: string;
}

/** What a customer has agreed on. */
export interface Agreed {
  /** Of the first test; later ones go by the last that passed. */
  month: number;
  day: number;
  hour: number;
  /** `isolated` when left out. */
  counts?: CountedKind;
  blackouts?: readonly Blackout[];
}

/** A test that has passed, of a kind that counts. */
export type Passed = Pick<TestReceipt, 'site' | 'endedAt' | 'run' | 'kind'>;

const DAY_MS = 24 * 3_600_000;
/** Every month has it. */
const LAST_DAY = 28;
/** The other site proves the other direction half a year later. */
const OTHER_SITE_MONTHS = 6;
/** And when it did not, the same site stands in a month before a test is due (DESIGN 5). */
const SAME_SITE_MONTHS = 11;
const DUE_MONTHS = 12;

/** The newest passed test that counts; null when there is none. */
export function newestPassed(receipts: readonly TestReceipt[], counts: CountedKind = 'isolated'): Passed | null {
  const passed = receipts.filter((r) => r.outcome === 'passed' && countsFor(r.kind, counts));
  return passed.toSorted((a, b) => a.endedAt.localeCompare(b.endedAt)).at(-1) ?? null;
}

/** So many months later, at the same time of the day; the 31st becomes the last day that the month has. */
export function monthsAfter(at: Timestamp, months: number): Timestamp {
  const date = new Date(at);
  const first = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + months, 1));
  const last = new Date(Date.UTC(first.getUTCFullYear(), first.getUTCMonth() + 1, 0)).getUTCDate();
  first.setUTCDate(Math.min(date.getUTCDate(), last));
  return new Date(first.getTime() + (date.getTime() % DAY_MS)).toISOString();
}

/** The day of each year on which a site's schedule starts its test. */
export interface YearlyDay {
  month: number;
  day: number;
  hour: number;
}

/**
 * As configured until a test has passed, the second site six months after the first; then six months after the last that
 * passed for the site which did not hold it, and eleven for the one that did. So they alternate, half a year apart, and
 * a test that one of them missed is made up for by the other before it is due.
 */
export function testDay(agreed: Agreed, { first }: { first: boolean }, passed: Passed | null, site: string): YearlyDay {
  const { month, day, hour } = agreed;
  if (passed === null) return { month: first ? month : ((month + OTHER_SITE_MONTHS - 1) % 12) + 1, day, hour };
  const months = passed.site === site ? SAME_SITE_MONTHS : OTHER_SITE_MONTHS;
  const at = new Date(monthsAfter(passed.endedAt, months));
  return { month: at.getUTCMonth() + 1, day: Math.min(at.getUTCDate(), LAST_DAY), hour };
}

/** The blackout that holds at a time; of several the one that ends last. */
export function blackoutAt(blackouts: readonly Blackout[] | undefined, at: number): Blackout | null {
  const holding = (blackouts ?? []).filter(({ from, to }) => Date.parse(from) <= at && at < Date.parse(to));
  return holding.toSorted((a, b) => a.to.localeCompare(b.to)).at(-1) ?? null;
}

/** The first moment from `at` on that no blackout holds, and why it is not `at`; null when it is. */
export function putOff(
  blackouts: readonly Blackout[] | undefined,
  at: number,
): { until: Timestamp; because: string } | null {
  let [until, because] = [at, ''];
  for (let next = blackoutAt(blackouts, until); next; next = blackoutAt(blackouts, until)) {
    because ||= `blackout until ${next.to}: ${next.because}`;
    until = Date.parse(next.to);
  }
  return until === at ? null : { until: new Date(until).toISOString(), because };
}

/** How a customer's yearly test stands. */
export interface TestStanding {
  counts: CountedKind;
  passed: Passed | null;
  /** Twelve months after the last one that passed, or after the customer was first prepared; null when neither is known. */
  due: Timestamp | null;
  /**
   * `late`: it is in time still, and a blackout holds until after it is due. `soon`: it is due within a month, and no schedule will
   * start it, for live tests are what counts.
   */
  state: 'in-time' | 'soon' | 'late' | 'overdue' | 'unknown';
  because: string;
}

export function testStanding(
  receipts: readonly TestReceipt[],
  { counts = 'isolated', blackouts }: Pick<Agreed, 'counts' | 'blackouts'>,
  { founded, now }: { founded: Timestamp | null; now: number },
): TestStanding {
  const passed = newestPassed(receipts, counts);
  const from = passed?.endedAt ?? founded;
  const since = passed
    ? `${passed.site} passed the last ${passed.kind} test on ${day(passed.endedAt)}`
    : `no ${counts} test has passed yet`;
  if (from === null) return { counts, passed, due: null, state: 'unknown', because: since };
  const due = monthsAfter(from, DUE_MONTHS);
  const on = `due ${day(due)}`;
  const free = putOff(blackouts, now);
  if (now >= Date.parse(due)) return { counts, passed, due, state: 'overdue', because: `${since}; ${on}` };
  if (free && Date.parse(free.until) > Date.parse(due))
    return { counts, passed, due, state: 'late', because: `${since}; ${on}; ${free.because}` };
  if (counts === 'live' && now >= Date.parse(monthsAfter(from, SAME_SITE_MONTHS)))
    return { counts, passed, due, state: 'soon', because: `${since}; ${on}` };
  return { counts, passed, due, state: 'in-time', because: `${since}; ${on}` };
}

/** Where live tests are what counts, operators hold them: people move their users, so that no schedule starts one. */
export const testCommand = (customer: string, site: string, counts: CountedKind, cohort = 'NAME'): string =>
  `tandem test start --customer ${customer} --site ${site}${counts === 'live' ? ` --kind live --cohort ${cohort}` : ''}`;

const day = (at: Timestamp): string => at.slice(0, 10);
