import { failureText } from '../../workflows/model/failures.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import { askService } from './management.ts';
import type { PlannedStep } from './planned.ts';
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
 * Whoever of these halves was written while he was signed in, and stays, is told to come back: a client goes by the contacts that it read
 * when it signed in, and so does the service by his lists.
 */
export async function readAnew(
  site: OwnSite,
  { key: { customer, epoch } }: PlannedStep,
  { halves, result }: { halves: readonly string[]; result: StepResult },
  signal: AbortSignal | undefined,
): Promise<StepResult> {
  const { ended, untold } = await endSessions(site, { customer, move: epoch.move, halves }, signal);
  const summary = `${result.summary}; sessions that were ended, so that their clients read the contacts anew: ${ended}`;
  const alarm = `not all sessions of those whose contacts are other ones were ended (${untold}): they show it at their next sign-in`;
  return {
    ...result,
    summary: ended > 0 ? summary : result.summary,
    ...(untold !== null && { alarms: [...(result.alarms ?? []), alarm] }),
  };
}

/** Of those whom a move has written although they are served. At this site; none where its service cannot be asked. */
export async function endSessions(
  site: OwnSite,
  { customer, move, halves }: { customer: string; move: string; halves: readonly string[] },
  signal?: AbortSignal,
): Promise<EndedSessions> {
  const { settings } = site;
  const management = settings.services.get(settings.site)?.management;
  const { domain: host } = site.customer(customer);
  const rows = await site.database(customer).query<{ username: string }>(
    `select distinct username from tandem.reconciled join tandem.home h using (username)
        where move = $1 and h.site = any($2) and (document ->> 'written')::boolean`,
    [move, halves],
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
