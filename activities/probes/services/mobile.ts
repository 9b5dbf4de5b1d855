import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { xml } from '@xmpp/client';
import type { Facts } from './port.ts';
import { bodyOf, Unmet, type ProbeRun } from './run.ts';
import type { Session } from './session.ts';

const NS_PUSH = 'urn:xmpp:push:0';
/** Another probe may have the same user signed in at that moment, and hear what was to be kept: then it is tried again. */
const ROUNDS = 3;
const ROUND_MS = 2500;
const EXPECTED = 'expected a push for a phone that is off, and what was sent to be there when it comes back';

/**
 * A phone: its connection breaks, and it goes on with the same session and misses nothing; it is switched off, and what is
 * sent to it meanwhile wakes it by a push and is there when it comes back.
 */
export async function mobile(run: ProbeRun): Promise<Facts> {
  const { first, third } = run.order.accounts;
  const other = await run.signIn('account 1', first, { available: true });
  const resumedMs = await resumes(run, other);
  const phone = await run.signIn('account 3', third);
  const node = `tandem-probe-${randomBytes(6).toString('hex')}`;
  const pushes = pushesTo(other, node);
  const enable = xml('enable', { xmlns: NS_PUSH, jid: other.jid, node });
  await run.expect('push to be switched on for account 3', () => phone.ask('set', enable));
  await phone.close();
  const disable = async (): Promise<void> => {
    const last = await run.signIn('account 3', third);
    const child = xml('disable', { xmlns: NS_PUSH, jid: other.jid, node });
    await run.expect('push to be switched off for account 3', () => last.ask('set', child));
  };
  try {
    for (let round = 1; !(await wakes(run, other, pushes)); round += 1) {
      if (round === ROUNDS) throw new Unmet(`${EXPECTED}; saw neither or one alone, ${ROUNDS} times`);
    }
  } catch (error) {
    await disable().catch(() => undefined); // What was not met is told; a push to nobody is forgotten by the service.
    throw error;
  }
  await disable();
  return { resumedMs };
}

/** The phone's connection is cut, without a word, while something is sent to it. */
async function resumes(run: ProbeRun, other: Session): Promise<number> {
  const phone = await run.signIn('account 3', run.order.accounts.third, { resumable: true });
  const { streamManagement, reconnect } = phone.xmpp;
  await run.expect('a session that can be resumed', async () => {
    while (streamManagement.id === '') await new Promise((resolve) => setTimeout(resolve, 10));
  });
  const { id } = streamManagement;
  cut(phone);
  const began = performance.now();
  const body = other.say(phone.jid);
  reconnect.delay = 50;
  reconnect.start();
  await run.hears(phone, 'the phone to resume its session and hear what was sent meanwhile', (s) => bodyOf(s) === body);
  await run.expect('the phone to go on with the same session', async () => {
    if (streamManagement.id !== id) throw new Error('a new one');
  });
  reconnect.stop();
  const resumedMs = Math.round(performance.now() - began);
  await phone.close();
  return resumedMs;
}

function cut(session: Session): void {
  const { socket } = session.xmpp.socket as unknown as { socket: Socket };
  socket.destroy();
}

/** The other account takes the part of the push service: it answers, and counts what came for this phone. */
function pushesTo(session: Session, node: string): () => number {
  let came = 0;
  session.answers('http://jabber.org/protocol/pubsub', 'pubsub', (element) => {
    if (element.getChild('publish')?.attrs['node'] === node) came += 1;
    return true;
  });
  return () => came;
}

/** One round: something is sent to the user while his phone is off. */
async function wakes(run: ProbeRun, other: Session, pushes: () => number): Promise<boolean> {
  const before = pushes();
  const user = `${run.order.accounts.third.user}@${run.order.target.domain}`;
  const body = other.say(user, { kept: true });
  const within = async (test: () => boolean): Promise<boolean> => {
    for (const end = performance.now() + ROUND_MS; performance.now() < end && !run.limit.aborted;) {
      if (test()) return true;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return false;
  };
  const pushed = await run.expect('a push for a phone that is off', () => within(() => pushes() > before));
  const phone = await run.signIn('account 3', run.order.accounts.third, { available: true });
  const found = await run.expect('the message to be there when the phone comes back', () =>
    within(() => phone.hasHeard((stanza) => bodyOf(stanza) === body)),
  );
  await phone.close();
  return pushed && found;
}
