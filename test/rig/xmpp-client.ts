import { client, xml } from '@xmpp/client';
import { deriveAtOnce } from '../../activities/probes/services/scram.ts';
import type { Told, Where } from './xmpp.ts';

/** A user's client, as a process: told by its parent where to sign in and what to say, it tells what it hears. */

/** Of one exchange. The library's own two seconds are little on a machine where many servers start; the session has a limit. */
const TIMEOUT_MS = 6000;

const tell = (told: Told): void => void process.send?.(told);
type Condition = Error & { condition?: string };
const why = (error: Condition): string => error.condition ?? error.message;

/** The library writes to sockets that are gone; the session has ended by then, and that was told. */
process.on('uncaughtException', (error) => tell({ ended: why(error) }));

process.once('message', ({ at, domain, user, password, resource = `test-${user}` }: Where) => {
  const xmpp = client({ timeout: TIMEOUT_MS, service: `xmpp://${at}`, domain, username: user, password, resource });
  xmpp.reconnect.stop();
  deriveAtOnce(xmpp);
  let online = false;
  const failed = (error: Condition): void => tell(online ? { ended: why(error) } : { failed: why(error) });
  xmpp.on('error', failed);
  // A redirect ends the first stream as well.
  xmpp.on('disconnect', () => void (online && tell({ ended: 'disconnected' })));
  xmpp.on('stanza', (stanza) => {
    tell({ stanza: stanza.toString() });
    const { type, from = '' } = stanza.attrs as { type?: string; from?: string };
    if (stanza.is('presence')) tell({ saw: `${from.split('/')[0]}: ${type ?? 'available'}` });
    if (!stanza.is('message')) return;
    tell({ heard: `${type === 'error' ? 'error' : from.split('/')[0]}: ${stanza.getChildText('body') ?? ''}` });
  });
  xmpp.on('online', () => {
    online = true;
    const socket = xmpp.socket as unknown as { remoteAddress?: string; socket?: { remoteAddress?: string } } | null;
    const address = socket?.remoteAddress ?? socket?.socket?.remoteAddress ?? '';
    xmpp.send(xml('presence')).catch(failed);
    tell({ online: { at: address } });
  });
  process.on('message', (said: { to: string; body: string } | { stanza: string }) => {
    if ('stanza' in said) xmpp.write(said.stanza).catch(failed);
    else xmpp.send(xml('message', { to: said.to, type: 'chat' }, xml('body', {}, said.body))).catch(failed);
  });
  xmpp.start().catch(failed);
});
process.once('disconnect', () => process.exit());
