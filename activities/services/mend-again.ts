import type { PoolClient } from 'pg';
import { failureText } from '../../workflows/model/failures.ts';
import { tellPairs, type PairCounts } from '../../workflows/model/subscriptions.ts';
import { mendSubscriptions } from '../contacts/mend.ts';
import { mendedHalves } from './restore.ts';
import type { OwnSite } from './site.ts';
import type { PlannedStep } from './planned.ts';

/** What people change in less is not worth that nobody is served meanwhile: of 2 million contacts all are read again. */
const WORTH_AFTER_MS = 60_000;
/** Well below what a step that serves may take. */
const LIMIT_MS = 15_000;

/** What was found; `alarm` tells why nothing could be looked for. Both empty when there was no reason to look. */
interface MendedAgain {
  told: string;
  alarm: string;
}

/**
 * Between the restore and the moment in which its users are served, the survivor's users went on: a fence may have been held
 * for hours. Their changes are brought to the restored side once more. In the transaction that gives the right to serve, so
 * that nothing which a restored user has changed himself can be undone by it; and it never stands in the way of serving.
 */
export async function mendAgain(
  client: PoolClient,
  site: OwnSite,
  { key, plan }: PlannedStep,
  signal: AbortSignal | undefined,
): Promise<MendedAgain> {
  if (!(await restoredLongAgo(client, key.epoch.move))) return { told: '', alarm: '' };
  const { id, domain, limits, keys } = site.customer(key.customer);
  const halves = { domain, ...(await mendedHalves(client, plan)) };
  const limit = AbortSignal.timeout(LIMIT_MS);
  await client.query(`savepoint mend_again; set local statement_timeout = ${LIMIT_MS}`);
  try {
    const pairs = await mendSubscriptions(client, {
      customer: id,
      ...halves,
      limit: limits.contacts,
      keys,
      heartbeat: () => undefined,
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
    await client.query('release savepoint mend_again; reset statement_timeout');
    return { told: tell(pairs), alarm: '' };
  } catch (error) {
    signal?.throwIfAborted();
    await client.query('rollback to savepoint mend_again');
    const because = limit.aborted ? `not done within ${LIMIT_MS / 1000} s` : failureText(error);
    return {
      told: '',
      alarm: `contacts of ${halves.lost.join(', ')} are as they were restored: what ${halves.current.join(', ')} changed since was not brought to them (${because})`,
    };
  }
}

/** Pairs that could not be mended were told of when they were restored. */
const tell = (pairs: PairCounts): string =>
  pairs.pairsMended > 0 ? `since they were restored, ${tellPairs(pairs).replace(/^subscriptions: /, '')}` : '';

async function restoredLongAgo(client: PoolClient, move: string): Promise<boolean> {
  const { rows } = await client.query<{ long: boolean | null }>(
    `select max(at) < now() - make_interval(secs => $2) as long from tandem.journal
      where move = $1 and kind = 'step' and key like 'effect/%' and body::jsonb ->> 'act' = 'restore-contacts'`,
    [move, WORTH_AFTER_MS / 1000],
  );
  return rows[0]?.long ?? false;
}
