import { connect } from 'node:net';
import tls from 'node:tls';

/** A site's service as its users find it, from where we stand. Whoever asks gives a signal with a limit. */

/** XMPP servers greet with the stream they open; anything that was written back shows that somebody is there. */
export const greetingOf = (domain: string, of: Greeting['of']): string =>
  `<?xml version='1.0'?><stream:stream to='${domain}' version='1.0' xmlns='jabber:${of}' xmlns:stream='http://etherx.jabber.org/streams'>`;

/** Connects to the port at which clients sign in and waits for its greeting. A connection that stays silent is a failure. */
export async function greetsClients(clients: string, domain: string, signal: AbortSignal): Promise<void> {
  const [host = '', port = ''] = clients.split(':');
  await greets({ host, port: Number(port), of: 'client', direct: false }, domain, signal);
}

export interface Greeting {
  host: string;
  port: number;
  /** Who is greeted there. */
  of: 'client' | 'server';
  /** TLS from the first byte, with a certificate for the domain. */
  direct: boolean;
}

export async function greets({ host, port, of, direct }: Greeting, domain: string, signal: AbortSignal): Promise<void> {
  const at = `${host}:${port}`;
  const socket = direct
    ? tls.connect({ host, port, servername: domain, ALPNProtocols: [`xmpp-${of}`], rejectUnauthorized: true })
    : connect({ host, port });
  const stop = (): void => void socket.destroy(new Error(`${at}: no greeting in time`));
  signal.addEventListener('abort', stop, { once: true });
  try {
    signal.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      socket.once(direct ? 'secureConnect' : 'connect', () => socket.write(greetingOf(domain, of)));
      socket.once('data', () => resolve());
      socket.on('error', reject);
      socket.once('close', () => reject(new Error(`${at}: closed the connection without a greeting`)));
    });
  } finally {
    signal.removeEventListener('abort', stop);
    socket.destroy();
  }
}

/** Asks a URL, follows nothing, and answers the status: any of them shows that somebody is there. */
export async function httpStatus(url: string, signal: AbortSignal): Promise<number> {
  const response = await fetch(url, { signal, redirect: 'manual' });
  await response.body?.cancel();
  return response.status;
}
