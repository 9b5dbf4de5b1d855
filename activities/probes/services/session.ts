import { randomBytes, randomUUID } from 'node:crypto';
import { client, xml, type Client } from '@xmpp/client';
import { offerBosh } from './bosh.ts';
import type { ProbeAccount } from './port.ts';
import type { SayOptions } from './run.ts';
import { deriveAtOnce } from './scram.ts';

/** An element of the stream; its attributes are texts. */
export type Stanza = ReturnType<typeof xml>;

/** What the library's types lead to nowhere. */
interface Questions {
  iqCaller: { request(stanza: Stanza, limitMs: number): Promise<Stanza> };
  iqCallee: { set(ns: string, name: string, answer: (asked: { element: Stanza }) => unknown): void };
}

export interface SessionOptions {
  /** `xmpp://host:port`, `wss://…/ws` or `bosh:https://…`; the target's client port by default. */
  service?: string;
  domain?: string;
  /** Sends presence: contacts see it, and messages to the user come to it. */
  available?: boolean;
  /** A client whose connection may break. All others leave no session behind when they vanish: they ask for none to be kept. */
  resumable?: boolean;
  /** Told when the server has taken the password, whatever it says after that. */
  onProven?: () => void;
}

const NS_STREAMS = 'http://etherx.jabber.org/streams';
const NS_SM = 'urn:xmpp:sm:3';
/** A resumable session that was left is kept so long, seconds. */
const KEPT_S = 15;

/** One user at one client. What he hears is kept, for whoever asks later. */
export class Session {
  readonly service: string;
  readonly xmpp: Client;
  /** The newest state of the stream, for people. */
  came = 'no connection';
  private readonly heard: Stanza[] = [];
  private readonly waiting = new Set<{ test: (stanza: Stanza) => boolean; found: (stanza: Stanza) => void }>();
  private readonly gone = Promise.withResolvers<never>();
  private readonly available: boolean;
  private readonly resumable: boolean;
  private closing = false;
  private ended: Error | null = null;

  constructor(account: ProbeAccount, options: SessionOptions & { service: string; domain: string }) {
    const { service, domain, available = false, resumable = false } = options;
    this.service = service;
    this.available = available;
    this.resumable = resumable;
    this.gone.promise.catch(() => undefined); // Also when nobody waits for anything.
    this.xmpp = client({
      service,
      domain,
      resource: `tandem-probe-${randomBytes(6).toString('hex')}`,
      // A password is given to nobody who might be overheard.
      credentials: async (give, mechanisms) => {
        if (!this.xmpp.isSecure()) throw new Error('no encryption is offered');
        await give(
          { username: account.user, password: account.password },
          mechanisms[0] ?? '',
          xml('user-agent', { id: randomUUID() }),
        );
      },
    });
    deriveAtOnce(this.xmpp);
    offerBosh(this.xmpp);
    this.xmpp.reconnect.stop(); // A probe must fail, not try for ever.
    this.xmpp.streamManagement.preferredMaximum = KEPT_S;
    if (!resumable) this.xmpp.prependListener('element', withoutStreamManagement);
    const { onProven } = options;
    if (onProven) this.xmpp.on('element', (element) => element.is('success') && onProven());
    this.listen();
  }

  private listen(): void {
    const { xmpp } = this;
    xmpp.on('status', (status) => {
      this.came = states[status] ?? this.came;
    });
    xmpp.on('error', (error) => this.end(error));
    xmpp.on('disconnect', () => {
      if (this.opened && !this.resumable) this.end(new Error('the server ended the session'));
    });
    xmpp.on('stanza', (stanza) => {
      this.heard.push(stanza);
      for (const waiter of this.waiting) if (waiter.test(stanza)) waiter.found(stanza);
    });
  }

  private opened = false;

  private end(error: Error): void {
    if (this.closing) return;
    this.ended ??= error;
    this.gone.reject(this.ended);
  }

  get jid(): string {
    return this.xmpp.jid?.toString() ?? '';
  }

  /** Without the resource: the user. */
  get user(): string {
    return this.xmpp.jid?.bare().toString() ?? '';
  }

  async open(limitMs: number): Promise<void> {
    this.xmpp.timeout = limitMs;
    await Promise.race([this.xmpp.start(), this.gone.promise]);
    this.opened = true;
    if (this.available) await this.xmpp.send(xml('presence'));
  }

  /** Until the session ends; whoever calls has a limit of his own. */
  hear(test: (stanza: Stanza) => boolean): Promise<Stanza> {
    const before = this.heard.find(test);
    if (before) return Promise.resolve(before);
    const found = new Promise<Stanza>((resolve) => this.waiting.add({ test, found: resolve }));
    return Promise.race([found, this.gone.promise]);
  }

  hasHeard(test: (stanza: Stanza) => boolean): boolean {
    return this.heard.some(test);
  }

  /** Something that nobody has ever said; answers it. What comes of it is heard, or is not. */
  say(to: string, { kept = false }: SayOptions = {}): string {
    const body = `tandem probe ${randomUUID()}`;
    this.tell(to, body, kept ? [] : undefined);
    return body;
  }

  /** Says it to one session; it is kept by nobody. */
  tell(to: string, body: string, hints: Stanza[] = [xml('no-store', { xmlns: 'urn:xmpp:hints' })]): void {
    const id = body.slice(-36);
    const message = xml('message', { to, type: 'chat', id }, xml('body', {}, body), ...hints);
    this.xmpp.send(message).catch((error: Error) => this.end(error));
  }

  /** The answer to a question; rejects with the condition of an error. */
  ask(type: 'get' | 'set', child: Stanza, to?: string): Promise<Stanza> {
    const attributes = { type, id: randomUUID(), ...(to !== undefined && { to }) };
    const { iqCaller } = this.xmpp as unknown as Questions;
    const asked = iqCaller.request(xml('iq', attributes, child), this.xmpp.timeout);
    return Promise.race([asked, this.gone.promise]);
  }

  /** What others ask this session to do; the answer's element, true for an empty one, undefined when it is not meant. */
  answers(ns: string, name: string, answer: (asked: Stanza) => Promise<Stanza | undefined> | boolean): void {
    const { iqCallee } = this.xmpp as unknown as Questions;
    iqCallee.set(ns, name, ({ element }) => answer(element));
  }

  /** Ends the stream, so that the server keeps nothing of it. */
  async close(limitMs = 1000): Promise<void> {
    if (this.closing) return;
    this.closing = true;
    this.xmpp.timeout = limitMs;
    if (this.xmpp.socket) await this.xmpp.stop().catch(() => undefined); // It had ended already, or never answers.
  }
}

/** What each state of the stream says to people. */
const states: Partial<Record<string, string>> = {
  connecting: 'no connection',
  connect: 'a connection',
  opening: 'a connection without an answer',
  open: 'a stream before sign-in',
  online: 'a session',
  disconnect: 'the end of the connection',
};

/** What the server is never asked for, it does not keep. */
function withoutStreamManagement(element: Stanza): void {
  if (!element.is('features', NS_STREAMS)) return;
  const offered = element.getChild('sm', NS_SM);
  if (offered) element.remove(offered);
}
