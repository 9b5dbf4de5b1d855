import { createHash, randomBytes, sign, type KeyObject } from 'node:crypto';

import { SIGNATURE_LIFE_MS, signedText, type SignedVerb, type Verb } from '../workflows/model/approvals.ts';
import { failureText } from '../workflows/model/failures.ts';
import { moveCommand, type FailoverStatus, type VerbAnswer } from '../workflows/model/moves.ts';
import { Fault } from './fault.ts';
import { noFailover, type FailoverHandle } from './moves.ts';
import { remedyFor } from './refusals.ts';
import { pause } from './temporal.ts';
import { isTemporal } from './temporal-errors.ts';

/** The words of operators to a failover: drafted, signed, sent. */

/** A verb that nobody has signed yet. */
export interface VerbDraft {
  verb: Verb;
  operator: string;
  step?: string;
  because?: string;
  /** What the plan asks an approval to accept, word for word. */
  accepts?: string[];
  /** An approval that counts alone, unless it is stopped within ten minutes. */
  breakGlass?: true;
  /** Now, by the run's clock, in ms: signatures live an hour from then. */
  now?: number;
}

export interface VerbRequest extends VerbDraft {
  key: KeyObject;
}

type Read = Pick<FailoverStatus, 'customer' | 'move' | 'plan' | 'steps'>;

/** What is to be signed, over what the run says of itself. The operator has read this status: its digest is what he signs. */
export function draftVerb(
  status: Read,
  { verb, operator, step, because, accepts = [], breakGlass, now = Date.now() }: VerbDraft,
): { v: Omit<SignedVerb, 'signature'>; text: string } {
  const { customer, move, plan, steps } = status;
  const round = steps.find((s) => s.id === step)?.round ?? 0;
  const v = {
    verb,
    operator,
    digest: plan?.digest ?? '',
    ...(step !== undefined && { step, round: verb === 'retry' ? round + 1 : round }),
    ...(because !== undefined && { because }),
    ...(accepts.length > 0 && { accepts }),
    ...(breakGlass && { breakGlass }),
    nonce: randomBytes(16).toString('hex'),
    expires: new Date(now + SIGNATURE_LIFE_MS).toISOString(),
  };
  return { v, text: signedText({ customer, move, epoch: plan?.decisions.epoch ?? null }, v) };
}

export function signVerb(status: Read, { key, ...draft }: VerbRequest): SignedVerb {
  const { v, text } = draftVerb(status, draft);
  return { ...v, signature: sign(null, Buffer.from(text), key).toString('hex') };
}

/** A word is answered once its line stands in the journal; that waits 30 s at most for its stores. */
const ANSWER_MS = 60_000;
/** Longer than a task may take, so that a run which is busy all the time is given the word as well. */
const TASK_MS = 12_000;
const TASK_EVERY_MS = 50;

/**
 * Waits until no workflow task of the run is open. A query may show what a worker has computed and the history does not
 * hold yet; a word that shares its task with that is written in an order which no worker can replay, or is dropped
 * (sdk-typescript 1.24: seen with workers that were starved, or had just begun).
 */
async function untilWritten(handle: FailoverHandle): Promise<void> {
  for (const until = Date.now() + TASK_MS; Date.now() < until; await pause(TASK_EVERY_MS)) {
    const { raw } = await handle.describe();
    if (!raw.pendingWorkflowTask) return;
  }
}

/** Sends a signed verb. Its id is the hash of what was signed, so that an answer that got lost does not apply it twice. */
export async function sendVerb(
  handle: FailoverHandle,
  v: SignedVerb,
  answerMs: number = ANSWER_MS,
): Promise<VerbAnswer> {
  const updateId = createHash('sha256').update(JSON.stringify(v)).digest('hex');
  try {
    await untilWritten(handle);
    return await handle.client.withDeadline(Date.now() + answerMs, () =>
      handle.executeUpdate<VerbAnswer, [SignedVerb]>(v.verb, { args: [v], updateId }),
    );
  } catch (error) {
    if (isTemporal(error, 'WorkflowUpdateRPCTimeoutOrCancelledError')) {
      throw new Fault(
        `${v.verb}: no answer within ${answerMs / 1000} s; whether it counts, the status tells`,
        '`tandem status` says whether the move stands still, and what to do then; else look at what is asked, and give the word again.',
      );
    }
    if (isTemporal(error, 'WorkflowUpdateFailedError')) {
      const reason = failureText(error);
      throw new Fault(
        `${v.verb} refused: ${reason}`,
        remedyFor(reason) ?? `\`${await commandFor(handle, 'watch')}\` shows the plan and what is asked.`,
      );
    }
    if (isTemporal(error, 'WorkflowNotFoundError')) throw await notRunning(handle, v.verb);
    throw error;
  }
}

/** A verb of the move that this run has, in the words of its kind; what the run does not answer, its id tells. */
async function commandFor(handle: FailoverHandle, verb: string): Promise<string> {
  const status = await handle.query<FailoverStatus>('status').catch(() => null);
  return status ? moveCommand(status, verb) : `tandem ${handle.workflowId.replace('/', ` ${verb} --customer `)}`;
}

/** Whom a word does not reach: a move that has ended, or none. */
async function notRunning(handle: FailoverHandle, verb: Verb): Promise<Fault> {
  const [workflow, customer] = handle.workflowId.split('/');
  const run = await handle.describe().catch(() => null);
  if (run === null) return noFailover(handle.workflowId);
  return new Fault(
    `${verb} refused: the ${workflow} of ${customer} is not running, it is ${run.status.name.toLowerCase().replaceAll('_', ' ')}`,
    `\`${await commandFor(handle, 'report')}\` shows how it ended; one that was terminated goes on by \`${await commandFor(handle, 'resume')}\`.`,
  );
}
