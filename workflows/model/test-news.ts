import { LIVE_BY_HAND, type TestStanding } from './test-due.ts';
import type { News } from './watch-news.ts';

/** What whoever is on duty hears of the yearly test: once when it is overdue or will be, and once when one has passed again. */
export function testNews(
  customer: string,
  site: string,
  { state, due, because, counts }: Pick<TestStanding, 'state' | 'due' | 'because' | 'counts'>,
): News {
  const late = state === 'overdue' || state === 'late';
  const says = {
    overdue: 'is OVERDUE',
    late: 'will be LATE: a blackout holds until after it is due',
    'in-time': 'is in time again',
    unknown: 'is in time again',
  };
  return {
    about: 'continuity-test',
    value: late ? `${state} ${due ?? ''}` : 'in-time',
    usual: 'in-time',
    since: due ?? '',
    severity: late ? 'warning' : 'info',
    subject: `${customer}: the yearly continuity test ${says[state]}`,
    text: [
      `${because}.`,
      ...(late && counts === 'live' ? [`${LIVE_BY_HAND}.`] : []),
      `Next: tandem ${late && counts !== 'live' ? `test start --customer ${customer} --site ${site}` : `status --customer ${customer}`}`,
    ].join('\n'),
  };
}
