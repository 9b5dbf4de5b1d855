import type { Facts } from './port.ts';
import { seenOf, Unmet, type ProbeRun } from './run.ts';

/** An account that was made a moment ago signs in. */
export async function provisioned(run: ProbeRun): Promise<Facts> {
  await run.signIn('the new account', run.order.accounts.first);
  return {};
}

/** One that was taken away is told that it is not known; any other refusal is none of this service. */
export async function disabled(run: ProbeRun): Promise<Facts> {
  const expected = 'the account that was taken away to be refused as not-authorized';
  const session = await run.signIn('the account', run.order.accounts.first).catch((error: unknown) => {
    if (/\bsaw not-authorized\b/.test(seenOf(error))) return null;
    throw error;
  });
  if (session) throw new Unmet(`expected ${expected}; saw it sign in`);
  return {};
}
