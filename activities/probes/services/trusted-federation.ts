import type { Facts } from './port.ts';
import { Unmet, type ProbeRun } from './run.ts';

/** A message to a user of the trusted partner arrives there, and his answer arrives here. Wherever the DNS leads other servers, they are greeted. */
export async function trustedFederation(run: ProbeRun): Promise<Facts> {
  const { partner, accounts } = run.order;
  if (!partner) throw new Unmet('expected an account at a partner; saw none');
  const { clients, domain } = partner;
  await run.ledTo('server'); // As the partner's server is.
  const [ours, theirs] = await Promise.all([
    run.signIn('account 1', accounts.first, { available: true }),
    run.signIn('the account at the partner', partner, { service: `xmpp://${clients}`, domain, available: true }),
  ]);
  const began = performance.now();
  await run.delivers('a message of account 1 to arrive at the partner', ours, theirs);
  const outMs = Math.round(performance.now() - began);
  await run.delivers('the answer of the partner to arrive at account 1', theirs, ours);
  return { outMs, bothWaysMs: Math.round(performance.now() - began) };
}
