import type { Facts } from './port.ts';
import type { ProbeRun } from './run.ts';

/**
 * An account of users whom another site serves is known here, with its keys: a site that is not to serve it proves the
 * password all the same, and then leads it elsewhere, or bids it wait. What comes of that is not looked at.
 */
export async function known(run: ProbeRun): Promise<Facts> {
  let proven = false;
  const onProven = (): void => {
    proven = true;
  };
  await run.signIn('an account of the other half', run.order.accounts.first, { onProven }).catch((error: unknown) => {
    if (!proven) throw error;
  });
  return {};
}
