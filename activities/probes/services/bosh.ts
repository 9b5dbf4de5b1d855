import { EventEmitter } from 'node:events';
import type { Client } from '@xmpp/client';

/**
 * XMPP over BOSH (XEP-0124, XEP-0206) for a client of `@xmpp/client`, as a browser without WebSocket speaks it. The frames of
 * the library's WebSocket transport (RFC 7395) are what it writes and reads; each becomes a request here, or part of an answer.
 */

const NS_BOSH = "xmlns='http://jabber.org/protocol/httpbind' xmlns:xmpp='urn:xmpp:xbosh'";
const OPENED = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' version='1.0'/>";
const CLOSED = "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>";
/** `wait`: the server answers after so many seconds at the latest, with news or without. */
const BEGIN = `content='text/xml; charset=utf-8' hold='1' wait='1' ver='1.6' xml:lang='en' xmpp:version='1.0'`;
/** For the client to answer what it was asked, before the server is asked for more. */
const IDLE_MS = 100;
const LONG_MS = 60_000;
const isClose = (frame: string): boolean => frame.startsWith('<close');
const FEATURES = "<stream:features xmlns:stream='http://etherx.jabber.org/streams'";

/**
 * One request at a time: of two on two connections the later one may come first, which ejabberd 23.01 answers with silence.
 */
class BoshSocket extends EventEmitter {
  readonly secure = true;
  private url = '';
  private sid = '';
  private rid = Math.floor(Math.random() * 2 ** 40);
  private readonly over = new AbortController();
  /** Of the request that is open: whoever leaves does not wait for news. */
  private open = new AbortController();
  private readonly frames: string[] = [];
  private left = false;
  private written = (): void => undefined;

  connect(url: string): void {
    this.url = url;
    queueMicrotask(() => this.emit('connect'));
    void this.run();
  }

  write(frame: string, done: (error?: Error) => void = () => undefined): void {
    this.frames.push(frame);
    this.written();
    if (isClose(frame)) this.open.abort();
    queueMicrotask(done); // What comes of it is told by events.
  }

  end(): void {
    this.over.abort();
    this.written();
    queueMicrotask(() => this.emit('close'));
  }

  private async run(): Promise<void> {
    try {
      while (!this.over.signal.aborted) {
        // The client may have something to say in a moment; else the server is asked for news.
        if (this.frames.length === 0) await this.pause(this.sid === '' ? LONG_MS : IDLE_MS);
        await new Promise((resolve) => setImmediate(resolve)); // Whoever wrote listens by now.
        await this.send(this.frames.shift()).catch((error: unknown) => {
          if (!this.frames.some(isClose)) throw error;
        });
      }
    } catch (error) {
      if (!this.over.signal.aborted) this.emit('error', error);
    }
  }

  private pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.written = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  private async send(frame = ''): Promise<void> {
    const to = /\sto=["']([^"']+)["']/.exec(frame)?.[1] ?? '';
    const own = `sid='${this.sid}'`;
    if (frame.startsWith('<open') && this.sid === '') {
      const answer = await this.post(`${BEGIN} to='${to}'`);
      this.sid = /\ssid=["']([^"']+)["']/.exec(answer)?.[1] ?? '';
      if (this.sid === '') throw new Error('BOSH: the server opened no session');
      this.emit('data', OPENED);
      this.hear(answer);
    } else if (frame.startsWith('<open')) {
      this.emit('data', OPENED);
      this.hear(await this.post(`${own} to='${to}' xmpp:restart='true'`));
    } else if (isClose(frame)) {
      this.left = true;
      await this.post(`${own} type='terminate'`);
      this.over.abort();
      this.emit('data', CLOSED);
    } else if (this.sid !== '') this.hear(await this.post(own, frame));
  }

  private hear(answer: string): void {
    const inner = /^<body\b[^>]*[^/]>(.*)<\/body>$/s.exec(answer.trim())?.[1] ?? '';
    // What the body declared for all that it holds.
    if (inner !== '') this.emit('data', inner.replace(/<stream:features(?![^>]*xmlns:stream)/, FEATURES));
  }

  private async post(attributes: string, inner = ''): Promise<string> {
    this.rid += 1;
    this.open = new AbortController();
    const response = await fetch(this.url, {
      method: 'POST',
      headers: { 'content-type': 'text/xml; charset=utf-8' },
      body: `<body rid='${this.rid}' ${attributes} ${NS_BOSH}>${inner}</body>`,
      signal: AbortSignal.any([this.over.signal, this.open.signal]),
    });
    if (response.status !== 200) throw new Error(`BOSH: HTTP ${response.status}`);
    const answer = await response.text();
    if (!this.left && /^<body\b[^>]*\stype=["']terminate["']/.test(answer)) {
      const why = /\scondition=["']([^"']+)["']/.exec(answer)?.[1] ?? 'without a condition';
      throw new Error(`BOSH: the server ended the session: ${why}`);
    }
    return answer;
  }
}

interface Transport {
  new (): { socketParameters(service: string): unknown };
  prototype: { socketParameters(service: string): unknown };
}

/** Services `bosh:https://…` are reached so; all others as before. */
export function offerBosh(xmpp: Client): void {
  const { transports } = xmpp as unknown as { transports: Transport[] };
  const framed = transports.find((t) => t.prototype.socketParameters('wss://x') !== undefined);
  if (!framed) throw new Error('the library has no WebSocket transport');
  const Bosh = class extends framed {
    override socketParameters(service: string): unknown {
      return service.startsWith('bosh:') ? service.slice('bosh:'.length) : undefined;
    }
  };
  Object.assign(Bosh.prototype, { Socket: BoshSocket });
  transports.unshift(Bosh);
}
