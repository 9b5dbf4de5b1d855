import {
  ActivityCancellationType,
  continueAsNew,
  proxyActivities,
  setCurrentDetails,
  setWorkflowOptions,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { PageInput, WatchActivities } from '../activities/types.ts';
import { searchAttributes } from './model/names.ts';
import { knowing, PAGES_AN_HOUR, roomFor, toTell, type Known, type News } from './model/watch-news.ts';
import { pager } from './move/activities.ts';

export interface WatchInput {
  customer: string;
  site: string;
  /** From the run before: what was heard last, what people were told last, and when pages about each thing were sent, ms. */
  known?: Known;
  told?: Known;
  sent?: Readonly<Record<string, readonly number[]>>;
  /** Rounds in a row in which a page reached nobody. */
  unheard?: number;
}

/** A quiet day is six rounds, of six events each: far below the hundred that it may have. */
const ROUND_MS = 4 * 3_600_000;
const MINUTE_MS = 60_000;
/** While all channels are away, it is tried less and less often. */
const LONGEST_WAIT_MS = 30 * MINUTE_MS;
/** A run stays small: days of quiet, or an hour of a peer that flaps. */
const MOST_EVENTS = 400;

/**
 * Longer than elsewhere: each beat is a write of the service, day and night. A peer that is lost in the same moment as this
 * site's worker is told within two minutes all the same.
 */
const BEATS_MISSED = '30s';

const acts = proxyActivities<WatchActivities>({
  // A round, and what a busy worker takes to begin with it. Without a worker it waits: nobody looks then, and `status` says so.
  startToCloseTimeout: ROUND_MS + 10 * MINUTE_MS,
  heartbeatTimeout: BEATS_MISSED,
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  // A worker that ends or is killed leaves it to the next one, for as long as the run lives.
  retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '10s' },
});

/**
 * Tells people what this site's watch of a customer has come to. The looking and the obeying go on in the worker's process,
 * also without this run; it hears of changes only, shows them, and pages once for each.
 */
export async function watch(input: WatchInput): Promise<void> {
  const { customer, site } = input;
  let { known = {}, told = {}, sent = {}, unheard = 0 } = input;
  let forMs = ROUND_MS;
  do {
    const { news } = await acts['watch-peer']({ customer, known, forMs });
    known = knowing(known, news);
    show(news);
    forMs = ROUND_MS;
    for (const one of toTell(told, news)) {
      const room = roomFor(sent[one.about] ?? [], Date.now());
      sent = { ...sent, [one.about]: room.sent };
      if (room.may === 'wait') {
        forMs = Math.min(forMs, room.waitMs);
        continue;
      }
      const heard = await page(pageOf(customer, site, one, room.may === 'say-that-it-flaps'));
      unheard = heard ? 0 : unheard + 1;
      if (heard) {
        told = { ...told, [one.about]: one.value };
        sent = { ...sent, [one.about]: [...room.sent, Date.now()] };
      } else forMs = Math.min(forMs, LONGEST_WAIT_MS, MINUTE_MS * 2 ** (unheard - 1));
    }
  } while (workflowInfo().historyLength < MOST_EVENTS && !workflowInfo().continueAsNewSuggested);
  await continueAsNew<typeof watch>({ customer, site, known, told, sent, unheard });
}
setWorkflowOptions({ versioningBehavior: 'AUTO_UPGRADE' }, watch);

/** The same thing has the same key, whoever sends it how often. */
function pageOf(customer: string, site: string, { about, value, since, ...one }: News, flaps: boolean): PageInput {
  const words = ['watch', customer, site, about, value, since, ...(flaps ? ['flaps'] : [])];
  const rest = `It was told ${PAGES_AN_HOUR} times within the hour; the next page about it comes when that hour is over.`;
  return {
    customer,
    move: null,
    key: words
      .join('/')
      .replaceAll(/[^!-~]/g, '-')
      .slice(0, 200),
    subject: flaps ? `${one.subject} (it FLAPS)` : one.subject,
    text: flaps ? `${rest}\n${one.text}` : one.text,
    severity: one.severity ?? 'info',
  };
}

/** False when there are channels, and none of them has it: it is told again later, under the same key. */
async function page(input: PageInput): Promise<boolean> {
  try {
    const { sent, failed } = await pager['page-operators'](input);
    return sent.length > 0 || failed.length === 0;
  } catch {
    return false; // The worker died at it; its own failures are in the answer.
  }
}

function show(news: readonly News[]): void {
  const odd = news.filter(({ value, usual }) => value !== usual);
  const looked = news.length === 0 ? ['**NOBODY LOOKS**: the worker of this site has seen nothing yet.'] : [];
  const lines = odd.map(({ subject, text }) => `**${subject}**\n\n${text.replaceAll('\n', '\n\n')}`);
  const quiet = odd.length === 0 && news.length > 0 ? ['Nothing is out of the ordinary.'] : [];
  setCurrentDetails([...looked, ...lines, ...quiet].join('\n\n'));
  const held = odd.length > 0 ? odd.map(({ about }) => about).join(' ') : null;
  // Each setting is an event of the history.
  if (held !== (workflowInfo().typedSearchAttributes.get(searchAttributes.held) ?? null))
    upsertSearchAttributes([{ key: searchAttributes.held, value: held }]);
}
