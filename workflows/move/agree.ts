import { condition } from '@temporalio/workflow';
import { countsAt } from '../model/break-glass.ts';
import type { Run } from './run.ts';

/** A plan nobody approves within a week is not wanted: the slot is freed for the next declaration. */
const APPROVAL_LIMIT_MS = 7 * 24 * 3_600_000;

/** A plan that cannot be approved is made anew at growing intervals: the world may have changed, and histories stay short. */
const FIRST_LOOK_MS = 30_000;
const LAST_LOOK_MS = 600_000;

/**
 * Makes the plan and waits until two operators have signed it, or one commander's word to go on alone has stood for ten
 * minutes. Signatures lapse while it waits, so it wakes for that too.
 */
export async function agree(run: Run): Promise<'agreed' | 'aborted'> {
  const deadline = Date.now() + APPROVAL_LIMIT_MS;
  for (let pause = FIRST_LOOK_MS; ; pause = Math.min(2 * pause, LAST_LOOK_MS)) {
    await run.makePlan();
    await run.flush(); // Whoever takes this move over, or looks into its journal, finds what was asked to be signed.
    const lookAgainAt = run.currentPlan.blockers.length > 0 ? Date.now() + pause : Infinity;
    await waitUntil(run, Math.min(deadline, lookAgainAt));
    if (run.abortAsked) {
      run.enter('abort-asked');
      return 'aborted';
    }
    if (run.approvalsStand || run.standsAlone) {
      run.approvedAt = new Date(Date.now()).toISOString();
      run.enter(run.approvalsStand ? 'approved' : 'broke-glass');
      await run.flush();
      return 'agreed';
    }
    if (Date.now() >= deadline) {
      run.enter('nobody-approved');
      return 'aborted';
    }
    run.enter('look-again');
  }
}

/** Returns when the plan is agreed, an abort is asked, or `limit` has come. */
async function waitUntil(run: Run, limit: number): Promise<void> {
  for (;;) {
    if (run.gone) throw run.gone;
    if (run.approvalsStand || run.standsAlone || run.abortAsked || Date.now() >= limit) return;
    const ahead = [...run.approvals.map((a) => a.expiresAt), countsAt(run.breakGlass) ?? 0].filter(
      (at) => at > Date.now(),
    );
    const wake = Math.min(limit, ...ahead);
    const seen = run.changes;
    const timeout = Math.max(1, wake - Date.now());
    const changed = await condition(() => run.changes !== seen, timeout, {
      summary: 'until a signature, or one lapses, or counts alone',
    });
    if (!changed) run.show();
  }
}
