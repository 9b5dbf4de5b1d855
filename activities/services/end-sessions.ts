import { failureText } from '../../workflows/model/failures.ts';
import { askService } from './management.ts';
import type { OwnSite } from './site.ts';

const SESSION_MS = 2000;
/** Below what a step that serves may take. */
const LIMIT_MS = 20_000;
const AT_ONCE = 8;

export interface EndedSessions {
  ended: number;
  /** Why some of them may go on with what their clients have read before; null when none does. */
  untold: string | null;
}

/**
 * Ends the sessions of those whom a move has written although they are served: a client goes by the contacts that it read when it
 * signed in. At this site; none where its service cannot be asked.
 */
export async function endSessions(
  site: OwnSite,
  { customer, move }: { customer: string; move: string },
  signal?: AbortSignal,
): Promise<EndedSessions> {
  const { settings } = site;
  const management = settings.services.get(settings.site)?.management;
  const { domain: host } = site.customer(customer);
  const rows = await site
    .database(customer)
    .query<{ username: string }>(
      "select username from tandem.reconciled where move = $1 and (document ->> 'written')::boolean",
      [move],
    );
  if (!management || rows.length === 0) return { ended: 0, untold: null };
  const late = AbortSignal.timeout(LIMIT_MS);
  const limit = { limitMs: SESSION_MS, signal: signal ? AbortSignal.any([signal, late]) : late };
  let ended = 0;
  let untold: string | null = null;
  const left = rows.values();
  const tell = async (): Promise<void> => {
    for (const { username: user } of left) {
      if (untold !== null) return;
      try {
        ended += sessionsOf(await askService(management, 'kick_user', { user, host }, limit));
      } catch (error) {
        signal?.throwIfAborted();
        untold = late.aborted ? `not all within ${LIMIT_MS / 1000} s` : failureText(error);
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, tell));
  return { ended, untold };
}

/** `{ "num_resources": 1 }`; a plain number in other versions of ejabberd. */
function sessionsOf(answer: unknown): number {
  const told: unknown =
    typeof answer === 'object' && answer !== null && 'num_resources' in answer ? answer.num_resources : answer;
  return typeof told === 'number' ? told : 0;
}
