import { client, xml } from '@xmpp/client';
import { deriveAtOnce } from '../../activities/probes/services/scram.ts';
import type { Asked, Told, Where } from './xmpp.ts';

/** Users' clients, as a process: told by its parent who signs in where and says what, it tells what they hear. */

/** Of one exchange. The library's own two seconds are little on a machine where many servers start; the session has a limit. */
const TIMEOUT_MS = 6000;

interface User {
  write: (stanza: string) => void;
  say: (to: string, body: string) => void;
  leave: () => void;
}
type Condition = Error & { condition?: string };

const users = new Map<number, User>();
const tell = (id: number, told: Told): void => void process.send?.({ id, told });
const why = (error: Condition): string => error.condition ?? error.message;

/**
 * The library writes to sockets that are gone, and counts acknowledgements of what was sent past it: where a session has ended,
 * that was told.
 */
process.on('uncaughtException', () => undefined);

function signIn(id: number, { at, domain, user, password, resource = `test-${user}` }: Where): User {
  const xmpp = client({ timeout: TIMEOUT_MS, service: `xmpp://${at}`, domain, username: user, password, resource });
  xmpp.reconnect.stop();
  deriveAtOnce(xmpp);
  let online = false;
  let left = false;
  const failed = (error: Condition): void => tell(id, online ? { ended: why(error) } : { failed: why(error) });
  /** Of TLS, or as it is before that. */
  const socket = () => {
    const own = xmpp.socket as unknown as (Socket & { socket?: Socket | null }) | null;
    return own?.socket ?? own;
  };
  xmpp.on('error', failed);
  // A redirect ends the first stream as well.
  xmpp.on('disconnect', () => void (online && tell(id, { ended: 'disconnected' })));
  // Who left while he was redirected comes nowhere.
  xmpp.on('status', () => void (left && socket()?.destroy?.()));
  xmpp.on('stanza', (stanza) => {
    tell(id, { stanza: stanza.toString() });
    const { type, from = '' } = stanza.attrs as { type?: string; from?: string };
    if (stanza.is('presence')) tell(id, { saw: `${from.split('/')[0]}: ${type ?? 'available'}` });
    if (!stanza.is('message')) return;
    tell(id, { heard: `${type === 'error' ? 'error' : from.split('/')[0]}: ${stanza.getChildText('body') ?? ''}` });
  });
  xmpp.on('online', () => {
    online = true;
    xmpp.send(xml('presence')).catch(failed);
    tell(id, { online: { at: socket()?.remoteAddress ?? '' } });
  });
  xmpp.start().catch(failed);
  return {
    write: (stanza) => void xmpp.write(stanza).catch(failed),
    say: (to, body) => void xmpp.send(xml('message', { to, type: 'chat' }, xml('body', {}, body))).catch(failed),
    leave() {
      left = true;
      socket()?.destroy?.();
    },
  };
}

interface Socket {
  remoteAddress?: string;
  destroy?: () => void;
}

process.on('message', ({ id, ...asked }: Asked & { id: number }) => {
  const user = users.get(id);
  if ('where' in asked) users.set(id, signIn(id, asked.where));
  else if ('stanza' in asked) user?.write(asked.stanza);
  else if ('body' in asked) user?.say(asked.to, asked.body);
  else {
    user?.leave();
    users.delete(id);
  }
});
process.once('disconnect', () => process.exit());
