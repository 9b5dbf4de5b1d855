import type { Facts } from './port.ts';
import type { ProbeRun } from './run.ts';

/** A message nobody has ever sent arrives, and so does its answer. */
export async function instantMessaging(run: ProbeRun): Promise<Facts> {
  const { first, second } = run.order.accounts;
  const [from, to] = await Promise.all([
    run.signIn('account 1', first, { available: true }),
    run.signIn('account 2', second, { available: true }),
  ]);
  const began = performance.now();
  await run.delivers('a message of account 1 to arrive at account 2', from, to, { to: to.user });
  await run.delivers('the answer of account 2 to arrive at account 1', to, from);
  return { bothWaysMs: Math.round(performance.now() - began) };
}
