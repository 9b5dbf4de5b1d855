import { setTimeout } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { signIn, type SignIn, type Signed } from './client.ts';

/** The thread of clients who all come at once: answers after how many ms each was in, when the last of them is. */

export interface Crowd {
  users: readonly string[];
  as: Omit<SignIn, 'user'>;
}

/** A client that was not let in tries again, as real ones do. */
const RETRY_MS = 1000;
const ENOUGH_MS = 120_000;

const { users, as } = workerData as Crowd;
const began = performance.now();

async function untilIn(user: string): Promise<Signed> {
  for (;;) {
    try {
      return await signIn({ ...as, user });
    } catch (error) {
      if (performance.now() - began > ENOUGH_MS) throw error;
      await setTimeout(RETRY_MS);
    }
  }
}

const one = async (user: string): Promise<number> => {
  await untilIn(user);
  return performance.now() - began;
};
const signInsMs = await Promise.all(users.map(one));
// They stay until the thread is ended.
parentPort?.postMessage(signInsMs, []);
