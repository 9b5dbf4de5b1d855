import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { SignIn } from './client.ts';
import type { Crowd } from './crowd.ts';

/** Users of a lost site who all come back at the same moment. */

export interface Storm {
  /** From the moment at which all of them came until each was in. */
  signInsMs: number[];
  /** Until the last of them was in. */
  allMs: number;
}

/**
 * All of them at once, and each stays until `leave`: to leave together is a storm of its own. They are clients of a thread
 * of their own: what their handshakes cost is not to be seen in what others measure at the same time.
 */
export async function signInAll(
  users: readonly string[],
  as: Omit<SignIn, 'user'>,
): Promise<Storm & { leave: () => Promise<void> }> {
  const workerData: Crowd = { users, as };
  const crowd = new Worker(new URL('crowd.ts', import.meta.url), { workerData });
  const [signInsMs] = (await once(crowd, 'message')) as [number[]];
  const leave = async (): Promise<void> => {
    await crowd.terminate();
  };
  return { signInsMs, allMs: Math.max(...signInsMs), leave };
}
