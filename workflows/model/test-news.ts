import { testCommand, type TestStanding } from './test-due.ts';
import type { News } from './watch-news.ts';

/** What whoever is on duty hears of the yearly test: once when it is overdue or will be, and once when one has passed again. */
export function testNews(
  customer: string,
  site: string,
  { state, due, because, counts }: Pick<TestStanding, 'state' | 'due' | 'because' | 'counts'>,
): News {
  const asked = state === 'overdue' || state === 'late' || state === 'soon';
  const says = {
    overdue: 'is OVERDUE',
    late: 'will be LATE: a blackout holds until after it is due',
    soon: 'is due within a month, and operators hold it: it is a live one',
    'in-time': 'is in time again',
    unknown: 'is in time again',
  };
  return {
    about: 'continuity-test',
    value: asked ? `${state} ${due ?? ''}` : 'in-time',
    usual: 'in-time',
    since: due ?? '',
    severity: state === 'overdue' || state === 'late' ? 'warning' : 'info',
    subject: `${customer}: the yearly continuity test ${says[state]}`,
    text: [
      `${because}.`,
      `Next: ${asked ? testCommand(customer, site, counts) : `tandem status --customer ${customer}`}`,
    ].join('\n'),
  };
}
