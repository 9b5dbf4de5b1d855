import { CancellationScope, condition, isCancellation, setWorkflowOptions, sleep } from '@temporalio/workflow';
import { failure } from './model/failures.ts';
import type { ClosedMove, FailoverInput } from './model/moves.ts';
import { isEnd } from './model/phases.ts';
import { agree } from './move/agree.ts';
import { alarmsAhead } from './move/pace.ts';
import type { Outcome } from './move/report.ts';
import { Run } from './move/run.ts';
import { listen } from './move/verbs.ts';
import { walk } from './move/walk.ts';

/**
 * Moves the users of a lost site to its peer. The runbook gives the order, two operators give their word, this file
 * gives the course: slot, plan, signatures, steps, evidence.
 */
export async function failover(input: FailoverInput): Promise<ClosedMove> {
  const run = openRun(input);
  listen(run);
  obeyCancel(run);
  return CancellationScope.nonCancellable(async () => {
    await run.claimSlot();
    return run.close(await courseOrEnd(run));
  });
}
// A running move keeps the code it was approved with (DESIGN 3).
setWorkflowOptions({ versioningBehavior: 'PINNED' }, failover);

/** Typed by hand in Temporal UI, an input may be anything; what is no object at all is said so, once. */
function openRun(input: unknown): Run {
  if (typeof input === 'object' && input !== null && 'customer' in input) return new Run(input as FailoverInput);
  throw failure(
    'input-invalid',
    `input: ${JSON.stringify(input) ?? 'nothing'}; { customer, from, reason, requestedBy } is expected`,
  );
}

/** A run that cannot be planned frees its slot before it fails, and fails with the cause. */
async function courseOrEnd(run: Run): Promise<Outcome> {
  try {
    return await course(run);
  } catch (error) {
    await run.giveUp(error);
    throw error;
  }
}

async function course(run: Run): Promise<Outcome> {
  // Taken over when all was done but the seal: nothing is begun again.
  if (isEnd(run.phase)) return run.phase;
  const clock = new CancellationScope({ cancellable: true });
  try {
    startClock(run, clock);
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

/** Cancel in Temporal UI means abort before the fence; after it, it is refused, and the refusal is shown. */
function obeyCancel(run: Run): void {
  CancellationScope.current().cancelRequested.catch(() => {
    if (run.mayAbort) run.abortAsked = 'cancelled in Temporal UI';
    else run.alarm('a cancel was asked in Temporal UI after the fence: refused');
    run.show();
  });
}
