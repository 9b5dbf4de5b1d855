import { countedKinds } from '../../workflows/model/continuity.ts';
import type { Agreed, Blackout } from '../../workflows/model/test-due.ts';
import type { Cursor } from '../../runbooks/yaml.ts';

/** The yearly test as `tandem.yaml` says it: when the first one is held, what counts, and when none may be. */

const DAY_MS = 24 * 3_600_000;
/** A test is scheduled a month before it is due: a longer blackout would always make it late. */
const LONGEST_DAYS = 60;
const LONGEST_BECAUSE = 200;
const PLACE = /^(\d{4}-\d{2}-\d{2})(?:T(\d{2}:\d{2})Z)?$/;

export function continuityOf(at: Cursor): Required<Agreed> {
  const c = at.present ? at.fields(['month', 'day', 'hour', 'counts', 'blackouts']) : null;
  return {
    month: c?.month.integer(1, 12, 3) ?? 3,
    day: c?.day.integer(1, 28, 10) ?? 10,
    hour: c?.hour.integer(0, 23, 2) ?? 2,
    counts: c?.counts.present ? c.counts.oneOf(countedKinds) : 'isolated',
    blackouts: c?.blackouts.present ? c.blackouts.items().map(blackoutOf) : [],
  };
}

function blackoutOf(at: Cursor): Blackout {
  const f = at.fields(['from', 'to', 'because']);
  const from = momentOf(f.from, 0);
  // A day is named with all of it.
  const to = momentOf(f.to, DAY_MS);
  const because = f.because.text(
    `a reason of up to ${LONGEST_BECAUSE} characters is expected: whoever starts a test reads it`,
    (v) => v.trim() !== '' && v.length <= LONGEST_BECAUSE,
  );
  if (from !== null && to !== null && to <= from) f.to.fault(`${f.to.seen()}; it ends after it begins`);
  if (from !== null && to !== null && to - from > LONGEST_DAYS * DAY_MS)
    f.to.fault(
      `${f.to.seen()}; at most ${LONGEST_DAYS} days are allowed: within it no test is held, and one becomes overdue`,
    );
  return { from: new Date(from ?? 0).toISOString(), to: new Date(to ?? 0).toISOString(), because };
}

/** In ms; null when it is none. `whole`: how long a day lasts that is named without a time. */
function momentOf(at: Cursor, whole: number): number | null {
  const text = at.text('a day such as 2027-12-15, or a time such as 2027-12-15T18:00Z, is expected (UTC)', isMoment);
  if (!isMoment(text)) return null;
  return PLACE.exec(text)?.[2] === undefined ? Date.parse(text) + whole : Date.parse(text);
}

/** Date.parse takes the 31st of a month that has 30. */
function isMoment(text: string): boolean {
  const day = PLACE.exec(text)?.[1];
  const ms = Date.parse(text);
  return day !== undefined && !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(day);
}
