import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

/**
 * A client that costs next to nothing: sign-in with StartTLS and SCRAM-SHA-1 (RFC 6120, RFC 5802), messages with a body, and
 * no more. With a real library a storm of sign-ins would measure the library.
 */

export interface SignIn {
  /** `host:port`. */
  at: string;
  domain: string;
  user: string;
  password: string;
  /** PEM of the authority that the server's certificate is of. */
  ca: string;
  limitMs: number;
}

export interface Signed {
  /** Hears the body of each message, and whether it is one of his own that came back. */
  onBody: (hear: (body: string, refused: boolean) => void) => void;
  say: (to: string, body: string) => void;
  /** Whether the server has ended it. */
  ended: () => boolean;
  leave: () => void;
}

const STREAM = (domain: string): string =>
  `<?xml version='1.0'?><stream:stream to='${domain}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>`;

/** Reads until something is there; what was read is gone. */
class Wire {
  private text = '';
  private socket: Socket;
  private wake: () => void = () => undefined;
  private over: Error | null = null;

  constructor(socket: Socket) {
    this.socket = socket;
    this.listen(socket);
  }

  private listen(socket: Socket): void {
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      this.text += chunk;
      this.wake();
    });
    const end = (error?: Error): void => {
      this.over ??= error ?? new Error('the server closed the connection');
      this.wake();
    };
    socket.on('error', end);
    socket.on('close', () => end());
  }

  secured(socket: Socket): void {
    this.socket.removeAllListeners('data');
    this.socket = socket;
    this.text = '';
    this.listen(socket);
  }

  write(text: string): void {
    if (!this.socket.destroyed) this.socket.write(text);
  }

  async until(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const found = pattern.exec(this.text);
      if (found) {
        this.text = this.text.slice(found.index + found[0].length);
        return found;
      }
      const refused = /<(?:stream:error|failure)[^>]*>\s*<([a-z-]+)/.exec(this.text);
      if (refused) throw new Error(refused[1]);
      if (this.over) throw this.over;
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  get ended(): boolean {
    return this.over !== null;
  }

  destroy(): void {
    this.socket.destroy();
  }
}

const salted = new Map<string, Buffer>();

/** Rejects with the server's condition, or when it takes longer than the limit. */
export async function signIn(options: SignIn): Promise<Signed> {
  const [host = '', port = ''] = options.at.split(':');
  const socket = connectTcp({ host, port: Number(port) });
  const wire = new Wire(socket);
  const late = setTimeout(
    () => socket.destroy(new Error(`not signed in within ${options.limitMs} ms`)),
    options.limitMs,
  );
  try {
    await introduce(wire, socket, options);
    await authenticate(wire, options);
    wire.write(STREAM(options.domain));
    await wire.until(/<\/stream:features>/);
    wire.write(`<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>`);
    await wire.until(/<iq[^>]*type='result'[^>]*>/);
    wire.write('<presence/>');
  } catch (error) {
    wire.destroy();
    throw error;
  } finally {
    clearTimeout(late);
  }
  return {
    onBody: (hear) => void listen(wire, hear),
    say: (to, body) => wire.write(`<message type='chat' to='${to}'><body>${body}</body></message>`),
    ended: () => wire.ended,
    leave() {
      wire.write('</stream:stream>');
      wire.destroy();
    },
  };
}

async function introduce(wire: Wire, socket: Socket, { domain, ca }: SignIn): Promise<void> {
  wire.write(STREAM(domain));
  await wire.until(/<\/stream:features>/);
  wire.write(`<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>`);
  await wire.until(/<proceed[^>]*>/);
  wire.secured(connectTls({ socket, servername: domain, ca }));
  wire.write(STREAM(domain));
  await wire.until(/<\/stream:features>/);
}

async function authenticate(wire: Wire, { user, password }: SignIn): Promise<void> {
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  const bare = `n=${user},r=${randomBytes(12).toString('base64url')}`;
  const sasl = `xmlns='urn:ietf:params:xml:ns:xmpp-sasl'`;
  wire.write(`<auth ${sasl} mechanism='SCRAM-SHA-1'>${base64(`n,,${bare}`)}</auth>`);
  const [, challenge = ''] = await wire.until(/<challenge[^>]*>([^<]*)<\/challenge>/);
  const server = Buffer.from(challenge, 'base64').toString();
  const [, nonce = '', salt = '', rounds = ''] = /^r=([^,]*),s=([^,]*),i=(\d+)/.exec(server) ?? [];
  // Made-up users share a salt: a storm is not to measure the derivation, which each real client does for itself.
  const known = `${password}/${salt}/${rounds}`;
  const key = salted.get(known) ?? pbkdf2Sync(password, Buffer.from(salt, 'base64'), Number(rounds), 20, 'sha1');
  salted.set(known, key);
  const hmac = (by: Buffer, what: string): Buffer => createHmac('sha1', by).update(what).digest();
  const client = hmac(key, 'Client Key');
  const unsigned = `c=${base64('n,,')},r=${nonce}`;
  const signature = hmac(createHash('sha1').update(client).digest(), `${bare},${server},${unsigned}`);
  const proof = Buffer.from(client.map((byte, i) => byte ^ (signature[i] ?? 0))).toString('base64');
  wire.write(`<response ${sasl}>${base64(`${unsigned},p=${proof}`)}</response>`);
  await wire.until(/<success[^>]*>/);
}

async function listen(wire: Wire, hear: (body: string, refused: boolean) => void): Promise<void> {
  try {
    for (;;) {
      const [, head = '', body = ''] = await wire.until(
        /<message([^>]*)>(?:(?!<\/message>).)*?<body[^>]*>([^<]*)<\/body>/s,
      );
      hear(body, /type=['"]error['"]/.test(head));
    }
  } catch {
    // The session has ended; whoever cares asks `ended`.
  }
}
