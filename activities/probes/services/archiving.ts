import { xml } from '@xmpp/client';
import type { Facts } from './port.ts';
import type { ProbeRun } from './run.ts';
import type { Session, Stanza } from './session.ts';

const NS_MAM = 'urn:xmpp:mam:2';
/** More than all probes of an account have sent since this one began. */
const NEWEST = 30;
const AGAIN_MS = 200;

/** A message that arrived is found in the archives of both, under the time at which it was sent. */
export async function archiving(run: ProbeRun): Promise<Facts> {
  const { first, second } = run.order.accounts;
  const [from, to] = await Promise.all([
    run.signIn('account 1', first, { available: true }),
    run.signIn('account 2', second, { available: true }),
  ]);
  const began = performance.now();
  const body = from.say(to.user, { kept: true });
  await run.hears(
    to,
    'a message of account 1 to arrive at account 2',
    (stanza) => stanza.getChildText('body') === body,
  );
  await finds(run, 'the archive of account 1 to have it', from, to.user, body);
  await finds(run, 'the archive of account 2 to have it', to, from.user, body);
  return { archivedMs: Math.round(performance.now() - began) };
}

async function finds(run: ProbeRun, expected: string, session: Session, other: string, body: string): Promise<void> {
  let asked = 0;
  await run.expect(
    expected,
    async () => {
      for (; !run.limit.aborted; await new Promise((resolve) => setTimeout(resolve, AGAIN_MS))) {
        asked += 1;
        if (await isArchived(session, other, body)) return;
      }
    },
    () => `an archive without it, asked ${asked} times`,
  );
}

async function isArchived(session: Session, other: string, body: string): Promise<boolean> {
  const field = (name: string, value: string, type?: string): Stanza =>
    xml('field', { var: name, ...(type !== undefined && { type }) }, xml('value', {}, value));
  const form = xml(
    'x',
    { xmlns: 'jabber:x:data', type: 'submit' },
    field('FORM_TYPE', NS_MAM, 'hidden'),
    field('with', other),
  );
  const newest = xml('set', { xmlns: 'http://jabber.org/protocol/rsm' }, xml('max', {}, String(NEWEST)), xml('before'));
  await session.ask('set', xml('query', { xmlns: NS_MAM, queryid: body.slice(-36) }, form, newest));
  return session.hasHeard((stanza) => {
    const forwarded = stanza.getChild('result', NS_MAM)?.getChild('forwarded', 'urn:xmpp:forward:0');
    return forwarded?.getChild('message')?.getChildText('body') === body;
  });
}
