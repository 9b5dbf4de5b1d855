import type { PoolClient } from 'pg';
import { failure } from '../../workflows/model/failures.ts';
import type { StepKey } from '../../workflows/model/moves.ts';
import { Database } from '../contacts/database.ts';
import { lockEpoch } from '../contacts/restore.ts';
import { effectKey } from './effects.ts';
import type { OwnSite } from './site.ts';

/** Of each statement, and of the connection: nothing here waits for anybody. */
const STATEMENT_MS = 5000;
/** The lock is proven so often; a server that went without a word is noticed by it. */
const PROOF_MS = 1000;
/** What still comes after the effect: its line in the journal, and the commit. */
const SLACK_MS = 5000;
/** How often a later attempt looks whether an earlier one has come to its end. */
const TURN_MS = 200;

/**
 * Does `work` under a shared lock on the epoch row, in one transaction on a connection of its own: `advance-epoch` takes
 * the row exclusively, so that it comes before the effect, which then is refused as `epoch-superseded`, or after it. The
 * lock is never held for longer than `limitMs` and a few seconds, whatever becomes of this process. When its connection
 * dies, the signal that `work` is given ends it. Attempts of one step and round take turns.
 */
export async function underEpoch<T>(
  site: OwnSite,
  key: StepKey,
  { limitMs, signal }: { limitMs: number; signal: AbortSignal },
  work: (client: PoolClient, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { id, databaseUrl } = site.customer(key.customer);
  const limits = { connections: 1, connectMs: STATEMENT_MS, statementMs: STATEMENT_MS };
  const database = new Database(`lock on the epoch of ${id} at ${site.settings.site}`, databaseUrl, limits);
  try {
    return await database.transaction(async (client) => {
      await mayIdle(client, limitMs);
      await takeTurn(client, key, limitMs, signal);
      await lockEpoch(client, database.name, id, key.epoch);
      const held = new HeldLock(client, database.name, limitMs);
      try {
        return await work(client, AbortSignal.any([signal, held.lost]));
      } finally {
        await held.endProofs();
      }
    });
  } catch (error) {
    signal.throwIfAborted(); // Told to end: that is why, whatever the database says of it.
    throw error;
  } finally {
    await database.close();
  }
}

/** The server itself frees the lock of a process that stands still. Measured from each proof on: it never adds up. */
async function mayIdle(client: PoolClient, ms: number): Promise<void> {
  await client.query("select set_config('idle_in_transaction_session_timeout', $1, true)", [
    String(Math.max(0, Math.round(ms)) + SLACK_MS),
  ]);
}

/** Two attempts share the epoch, and would run side by side: the later one waits until the earlier one has ended. */
async function takeTurn(client: PoolClient, key: StepKey, limitMs: number, signal: AbortSignal): Promise<void> {
  for (const end = performance.now() + limitMs + SLACK_MS; performance.now() < end;) {
    signal.throwIfAborted();
    const { rows } = await client.query<{ mine: boolean }>(
      'select pg_try_advisory_xact_lock(hashtextextended($1, 0)) as mine',
      [effectKey(key)],
    );
    if (rows[0]?.mine === true) return;
    await new Promise((resolve) => setTimeout(resolve, TURN_MS));
  }
  throw failure('attempt-running', `step ${key.step}: an earlier attempt still runs, after ${limitMs + SLACK_MS} ms`);
}

/** A lock that is watched for as long as it is needed. */
class HeldLock {
  private readonly client: PoolClient;
  private readonly name: string;
  private readonly frees: number;
  private readonly gone = new AbortController();
  private readonly timer: NodeJS.Timeout;
  private proof: Promise<void> | null = null;

  constructor(client: PoolClient, name: string, limitMs: number) {
    this.client = client;
    this.name = name;
    this.frees = performance.now() + limitMs;
    client.on('error', this.onError);
    this.timer = setInterval(() => {
      this.proof ??= this.prove();
    }, PROOF_MS);
  }

  get lost(): AbortSignal {
    return this.gone.signal;
  }

  private readonly onError = (error: Error): void => {
    this.gone.abort(failure('database-unreachable', `${this.name}: lost while it was needed: ${error.message}`));
  };

  private async prove(): Promise<void> {
    const silent = setTimeout(() => this.onError(new Error(`no answer within ${STATEMENT_MS} ms`)), STATEMENT_MS);
    try {
      await mayIdle(this.client, this.frees - performance.now());
    } catch (error) {
      this.onError(error instanceof Error ? error : new Error(String(error)));
    } finally {
      clearTimeout(silent);
      this.proof = null;
    }
  }

  /** The connection is its user's again. */
  async endProofs(): Promise<void> {
    clearInterval(this.timer);
    await this.proof;
    this.client.off('error', this.onError);
  }
}
