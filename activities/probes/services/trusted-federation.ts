import { timeFault, validityAt } from '../certificate.ts';
import { ledTo } from './led.ts';
import type { Facts } from './port.ts';
import { Unmet, type ProbeRun } from './run.ts';

/** A message to a user of the trusted partner arrives there, and his answer arrives here. Wherever the DNS leads other servers, they are greeted. */
export async function trustedFederation(run: ProbeRun): Promise<Facts> {
  const { partner, accounts } = run.order;
  if (!partner) throw new Unmet('expected an account at a partner; saw none');
  const { clients, domain } = partner;
  await run.ledTo('server'); // As the partner's server is.
  await showsCertificates(run, domain);
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

/** A message that does not arrive has many reasons; of this one the date can be told. */
async function showsCertificates(run: ProbeRun, partner: string): Promise<void> {
  const { resolver } = run.order.target;
  if (resolver === null) return;
  await run.expect('certificates of the partner’s servers that are in their time', async () => {
    for (const { address, port, direct } of await ledTo(partner, 'server', resolver)) {
      const fault = timeFault(await validityAt({ host: address, port, of: 'server', direct }, partner, run.limit));
      if (fault !== '') throw new Error(fault);
    }
  });
}
