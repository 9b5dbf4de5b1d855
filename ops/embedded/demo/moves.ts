import type { FailoverStatus } from '../../../workflows/model/moves.ts';
import { Fault } from '../../fault.ts';
import { loadPrivateKey } from '../../keys.ts';
import { failoverStatus, followFailover, type FailoverHandle } from '../../moves.ts';
import { sendVerb, signVerb } from '../../verbs.ts';
import { operatorKeyPath } from '../configuration.ts';
import type { DemoOptions, Scene } from './scene.ts';

/** Moves as the story goes along with them. */

/** A move of the demo's size takes seconds; one that has not ended by then waits for somebody. */
const MOVE_LIMIT_MS = 180_000;

/** Both operators of the demo sign the plan. */
export async function signTwice({ stack }: Scene, handle: FailoverHandle): Promise<void> {
  for (const operator of ['operator-1', 'operator-2']) {
    const key = await loadPrivateKey(operatorKeyPath(stack.folder, operator));
    await sendVerb(handle, signVerb(await failoverStatus(handle), { verb: 'approve', operator, key }));
  }
}

/** Follows the run to a point of the story; a run that ends or is held before it is the story's failure. */
export async function until(
  handle: FailoverHandle,
  { signal }: DemoOptions,
  point: (s: FailoverStatus) => boolean,
): Promise<FailoverStatus> {
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(MOVE_LIMIT_MS)]);
  const held = (s: FailoverStatus): boolean =>
    s.steps.some((step) => step.state === 'held') || (s.plan?.blockers.length ?? 0) > 0;
  const last = await followFailover(handle, () => undefined, {
    enough: (s) => point(s) || held(s),
    everyMs: 50,
    signal: deadline,
  });
  if (point(last)) return last;
  throw new Fault(
    `${last.kind ?? 'failover'}: ${last.phase}, waits for ${last.waitsFor}`,
    'Run the demo with --keep and look at Temporal UI.',
  );
}
