import { connect } from 'node:net';

/** A site's service as its users find it, from where we stand. Whoever asks gives a signal with a limit. */

/** XMPP servers greet with the stream they open; anything that was written back shows that somebody is there. */
const greetingOf = (domain: string): string =>
  `<?xml version='1.0'?><stream:stream to='${domain}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>`;

/** Connects to the port at which clients sign in and waits for its greeting. A connection that stays silent is a failure. */
export async function greetsClients(clients: string, domain: string, signal: AbortSignal): Promise<void> {
  const [host = '', port = ''] = clients.split(':');
  const socket = connect({ host, port: Number(port), signal });
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', () => socket.write(greetingOf(domain)));
      socket.once('data', () => resolve());
      socket.once('error', reject);
      socket.once('close', () => reject(new Error(`${clients}: closed the connection without a greeting`)));
    });
  } finally {
    socket.destroy();
  }
}

/** Asks a URL, follows nothing, and answers the status: any of them shows that somebody is there. */
export async function httpStatus(url: string, signal: AbortSignal): Promise<number> {
  const response = await fetch(url, { signal, redirect: 'manual' });
  await response.body?.cancel();
  return response.status;
}
