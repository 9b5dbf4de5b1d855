import { CancellationScope, condition, isCancellation, sleep } from '@temporalio/workflow';
import { failure } from '../model/failures.ts';
import type { ClosedMove, MoveInput, MoveWorkflow } from '../model/moves.ts';
import { isEnd } from '../model/phases.ts';
import { agree } from './agree.ts';
import { alarmsAhead } from './pace.ts';
import type { Outcome } from './report.ts';
import { Run } from './run.ts';
import { heedPrecedence } from './precedence.ts';
import { listen } from './verbs.ts';
import { walk } from './walk.ts';

/** What an operator is told whose input is no object at all. */
const expected: Record<MoveWorkflow, string> = {
  failover: '{ customer, from, reason, requestedBy }',
  relocate: '{ customer, half, from, to, reason, requestedBy }',
};

/** Moves users, from the slot to the evidence. */
export async function moveUsers(workflow: MoveWorkflow, input: unknown): Promise<ClosedMove> {
  const run = openRun(workflow, input);
  listen(run);
  heedPrecedence(run);
  obeyCancel(run);
  return CancellationScope.nonCancellable(async () => {
    await run.claimSlot();
    return run.close(await courseOrEnd(run));
  });
}

/** Typed by hand in Temporal UI, an input may be anything; what is no object at all is said so, once. */
function openRun(workflow: MoveWorkflow, input: unknown): Run {
  if (typeof input === 'object' && input !== null && 'customer' in input) return new Run(workflow, input as MoveInput);
  throw failure('input-invalid', `input: ${JSON.stringify(input) ?? 'nothing'}; ${expected[workflow]} is expected`);
}

/** A run that cannot be planned frees its slot before it fails, and fails with the cause. */
async function courseOrEnd(run: Run): Promise<Outcome> {
  try {
    return await course(run);
  } catch (error) {
    if (run.overtaken) return run.superseded();
    await run.giveUp(error);
    throw error;
  }
}

async function course(run: Run): Promise<Outcome> {
  // Taken over when all was done but the seal: nothing is begun again.
  if (isEnd(run.phase)) return run.phase;
  const clock = new CancellationScope({ cancellable: true });
  try {
    // What is planned has no disaster that a clock could count from.
    if (run.workflow === 'failover') startClock(run, clock);
    for (;;) {
      if (!run.underWay && (await agree(run)) === 'aborted') return 'aborted';
      const end = await walk(run);
      if (end !== 'world-worse') return end;
      run.voidSignatures();
    }
  } finally {
    clock.cancel();
  }
}

/** It starts with the first plan, because that knows the customer's objectives, and rings until the run ends. */
function startClock(run: Run, clock: CancellationScope): void {
  clock
    .run(() => ring(run))
    .catch((error: unknown) => {
      if (!isCancellation(error)) throw error; // Cancelled is how it ends, with the run.
    });
}

async function ring(run: Run): Promise<void> {
  await condition(() => run.plan !== null); // Ends with the run's scope at the latest.
  for (const { atMs, text } of alarmsAhead(run)) {
    if (atMs > Date.now()) await sleep(atMs - Date.now(), { summary: text });
    run.alarm(text);
    await run.flush().catch(() => undefined); // A journal that fails for good ends the run where it waits.
  }
}

/** Cancel in Temporal UI means abort before the epoch is claimed; after that, it is refused, and the refusal is shown. */
function obeyCancel(run: Run): void {
  CancellationScope.current().cancelRequested.catch(() => {
    if (run.mayAbort) run.abortAsked = 'cancelled in Temporal UI';
    else run.alarm('a cancel was asked in Temporal UI after the epoch was claimed: refused');
    run.show();
  });
}
