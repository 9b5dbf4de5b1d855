import { connect, isIP, type Socket } from 'node:net';
import tls from 'node:tls';
import { greetingOf, type Greeting } from './service.ts';

/** What a server's certificate says of its time, whoever trusts it. */

export interface Validity {
  from: Date;
  until: Date;
}

/** A server that speaks TLS from the first byte, or XMPP and then STARTTLS. */
export type Place = Greeting | { host: string; port: number; of: 'https' };

const STARTTLS = `<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>`;
/** Of what a server says before TLS. */
const MOST_BYTES = 65_536;

/** Of the certificate that a server shows now, trusted or not; nothing is said to it over it. */
export async function validityAt(place: Place, name: string, signal: AbortSignal): Promise<Validity> {
  const { host, port, of } = place;
  const plain = connect({ host, port });
  const stop = (): void => void plain.destroy(new Error(`${host}:${port}: no certificate in time`));
  signal.addEventListener('abort', stop, { once: true });
  try {
    signal.throwIfAborted();
    if (of !== 'https' && !place.direct) await startTls(plain, greetingOf(name, of));
    return await shown(plain, name);
  } finally {
    signal.removeEventListener('abort', stop);
    plain.destroy();
  }
}

/** RFC 6120, 5.4: until the server says that TLS may begin. */
function startTls(socket: Socket, greeting: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let said = '';
    let asked = false;
    const hear = (data: Buffer): void => {
      said += data.toString('latin1');
      if (!asked && said.includes('</stream:features>')) {
        if (!said.includes('urn:ietf:params:xml:ns:xmpp-tls')) return reject(new Error('no encryption is offered'));
        asked = true;
        socket.write(STARTTLS);
      }
      if (/<proceed[\s/>]/.test(said)) {
        socket.off('data', hear);
        resolve();
      } else if (said.length > MOST_BYTES) reject(new Error('no encryption is offered'));
    };
    socket.on('data', hear);
    socket.once('connect', () => socket.write(greeting));
    socket.on('error', reject);
    socket.once('close', () => reject(new Error('closed the connection before TLS')));
  });
}

function shown(plain: Socket, name: string): Promise<Validity> {
  return new Promise((resolve, reject) => {
    const secured = tls.connect({ socket: plain, servername: isIP(name) ? '' : name, rejectUnauthorized: false });
    secured.on('error', reject);
    secured.once('close', () => reject(new Error('closed the connection without a certificate')));
    secured.once('secureConnect', () => {
      const { valid_from: from, valid_to: until } = secured.getPeerCertificate();
      resolve({ from: new Date(from), until: new Date(until) });
      secured.destroy();
    });
  });
}

/** Node's codes for a certificate that is not in its time. */
const outOfTime = (error: unknown): boolean =>
  ['CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID'].includes((error as { code?: string }).code ?? '');

/** What is wrong with it now; empty when it is in its time. */
export function timeFault({ from, until }: Validity, now = new Date()): string {
  if (until <= now) return `a certificate that expired on ${until.toISOString()}`;
  return from > now ? `a certificate that is not valid before ${from.toISOString()}` : '';
}

/** An error of TLS with the date, where that is why; of others, the error itself. The server is looked at once more for it. */
export async function withDate(refused: unknown, place: Place, name: string, limitMs: number): Promise<Error> {
  const own = refused instanceof Error ? refused : new Error(String(refused));
  if (!outOfTime(own)) return own;
  const fault = await validityAt(place, name, AbortSignal.timeout(limitMs)).then(timeFault, () => '');
  return fault === '' ? own : new Error(fault);
}
