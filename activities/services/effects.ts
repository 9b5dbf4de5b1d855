import type { PoolClient } from 'pg';
import type { StepKey, StepResult } from '../../workflows/model/moves.ts';
import { compareEpoch } from '../../workflows/model/epoch.ts';
import { failure } from '../../workflows/model/failures.ts';
import type { Database } from '../contacts/database.ts';
import { appendJournal, findLine } from '../journal/chain.ts';
import type { PlannedStep } from './planned.ts';

/** An effect's own line in the journal: by the step's key, so that it is told from the lines of the run. */
export const effectKey = ({ customer, epoch, step, round }: StepKey): string =>
  `effect/${customer}/${epoch.number}/${step}/${round}`;

/** What an earlier attempt of this step and round has done; null when none came to its end. */
export async function doneBefore(database: Database, { key }: PlannedStep): Promise<StepResult | null> {
  return database.connection((client) => readEffect(client, key));
}

export async function readEffect(client: PoolClient, key: StepKey): Promise<StepResult | null> {
  const line = await findLine(client, key.epoch.move, effectKey(key));
  return line ? (line.body['result'] as StepResult) : null;
}

/**
 * Writes what a step did into the journal, in the transaction of its effect. When two attempts run at once, the first
 * one's line stands and is what both answer.
 */
export async function noteEffect(
  client: PoolClient,
  { key, act }: PlannedStep,
  result: StepResult,
): Promise<StepResult> {
  const { customer, epoch, step, round } = key;
  // The lock of appendJournal, taken early: else both attempts find no line.
  await client.query('select from tandem.move where move = $1 for update', [epoch.move]);
  const before = await readEffect(client, key);
  if (before) return before;
  const body = { act, step, round, epoch, result };
  await appendJournal(client, {
    customer,
    move: epoch.move,
    key: effectKey(key),
    kind: 'step',
    at: new Date().toISOString(),
    body,
  });
  return result;
}

/**
 * For steps that may come before `advance-epoch`: a newer epoch than theirs, or an equal one of another move, is
 * `epoch-superseded`. Locks the epoch's row until the transaction ends.
 */
export async function refuseOvertaken(
  client: PoolClient,
  name: string,
  { customer, epoch }: Pick<StepKey, 'customer' | 'epoch'>,
): Promise<void> {
  const { rows } = await client.query<{ number: string; site: string; move: string }>(
    'select number::text, site, move from tandem.epoch where customer = $1 for share',
    [customer],
  );
  const [held] = rows.map(({ number, ...rest }) => ({ ...rest, number: Number(number) }));
  if (!held || compareEpoch(held, epoch) !== 'refused') return;
  throw failure(
    'epoch-superseded',
    `${name}: epoch ${held.number} of move ${held.move} at ${held.site} stands, not ${epoch.number} of move ${epoch.move}`,
  );
}

/** For what leaves no line in the journal: another move may have taken the slot, and ended this one. Locks its row. */
export async function refuseEnded(client: PoolClient, move: string): Promise<void> {
  const { rows } = await client.query<{ phase: string }>(
    'select phase from tandem.move where move = $1 and ended_at is not null for share',
    [move],
  );
  if (rows[0]) throw failure('move-ended', `move ${move}: has ended (${rows[0].phase})`);
}
