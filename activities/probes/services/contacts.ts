import type { Facts } from './port.ts';
import { bodyOf, isReturned, type ProbeRun } from './run.ts';

/** After the sender was told no, what was to be kept from the user would have come within this. */
const QUIET_MS = 700;

/**
 * The block list as restored: what a blocked user sends comes back as an error and never arrives, what another one sends
 * does. Nothing is changed: the block was there before.
 */
export async function contacts(run: ProbeRun): Promise<Facts> {
  const { first, second, third } = run.order.accounts;
  const [welcome, owner, blocked] = await Promise.all([
    run.signIn('account 1', first),
    run.signIn('account 2', second, { available: true }),
    run.signIn('account 3', third),
  ]);
  const reaches = (): Promise<void> =>
    run.delivers('a message of account 1, whom nobody has blocked, to arrive at account 2', welcome, owner, {
      to: owner.user,
    });
  // Before and after: what comes back in between does so by the block, and not because nobody is there.
  await reaches();
  const refused = blocked.say(owner.user);
  const arrives = owner
    .hear((stanza) => bodyOf(stanza) === refused)
    .then((): never => {
      throw new Error('it arrive: nobody is blocked');
    });
  await run.expect('the message of account 3, which account 2 has blocked, to come back as an error', () =>
    Promise.race([blocked.hear((stanza) => isReturned(stanza, refused)), arrives]),
  );
  await reaches();
  const quiet = new Promise((resolve) => setTimeout(resolve, QUIET_MS));
  await run.expect('nothing of account 3 to arrive at account 2', () => Promise.race([quiet, arrives]));
  return {};
}
