import { withDate } from '../certificate.ts';
import { greets } from '../service.ts';
import { ledTo, type Led } from './led.ts';
import { moment, type ProbeAccount, type ProbeOrder } from './port.ts';
import { Session, type SessionOptions, type Stanza } from './session.ts';

/** To look once more at a certificate that was refused. */
const DATE_MS = 1000;

/** What a probe expected and did not see. The message is all that anybody is told of it. */
export class Unmet extends Error {}

/** One probe, in a process of its own. */
export class ProbeRun {
  readonly order: ProbeOrder;
  private readonly sessions: Session[] = [];
  private readonly tell: (expects: string) => void;
  private readonly over: AbortSignal;
  private readonly endsAt: number;
  /** Of the library, from sockets that were gone: said beside what was not met. */
  private aside = '';

  constructor(order: ProbeOrder, tell: (expects: string) => void) {
    this.order = order;
    this.tell = tell;
    this.endsAt = order.endsAt;
    this.over = AbortSignal.timeout(Math.floor(this.leftMs));
  }

  /** Fires when the clients' time is over. */
  get limit(): AbortSignal {
    return this.over;
  }

  get leftMs(): number {
    return Math.max(1, this.endsAt - moment());
  }

  note(error: unknown): void {
    this.aside ||= seenOf(error);
  }

  /**
   * Does one thing that must come to pass, before the probe's time is over. `expected` reads on after "expected": it names
   * no user. `seen` says what came instead, when nothing else does.
   */
  async expect<T>(expected: string, work: () => Promise<T>, seen: () => string = () => 'nothing'): Promise<T> {
    this.tell(expected);
    const began = performance.now();
    const unmet = (saw: string): Unmet => {
      const seconds = ((performance.now() - began) / 1000).toFixed(1);
      return new Unmet(`expected ${expected}; saw ${saw}, after ${seconds} s`);
    };
    const late = Promise.withResolvers<never>();
    const stop = (): void => late.reject(unmet(this.aside === '' ? seen() : `${seen()} (${this.aside})`));
    this.over.addEventListener('abort', stop, { once: true });
    try {
      if (this.over.aborted) stop();
      return await Promise.race([late.promise, work()]);
    } catch (error) {
      if (error instanceof Unmet) throw error;
      // The library's own time is over at the same moment, and it does not know what had come by then.
      throw unmet(error instanceof Error && error.name === 'TimeoutError' ? seen() : seenOf(error));
    } finally {
      this.over.removeEventListener('abort', stop);
    }
  }

  /** Signs in at the target, as `who` in what is said of it. Its stream is closed at the end of the run. */
  async signIn(who: string, account: ProbeAccount, options: SessionOptions = {}): Promise<Session> {
    const { target } = this.order;
    const session = new Session(account, { service: `xmpp://${target.clients}`, domain: target.domain, ...options });
    this.sessions.push(session);
    const at = session.service.replace(/^xmpp:\/\//, '');
    await this.expect(
      `${who} to sign in at ${at}`,
      () => session.open(this.leftMs).catch((error: unknown) => this.dated(error, session.service, options.domain)),
      () => `nothing more than ${session.came}`,
    );
    // What is sent to a user before his presence was taken up comes back, as if he were away.
    if (options.available) await this.hears(session, `${who} to be available`, (s) => isOwnPresence(s, session.jid));
    return session;
  }

  /** Throws the error, with the date where a certificate is not in its time. */
  private async dated(error: unknown, service: string, domain = this.order.target.domain): Promise<never> {
    const { protocol, hostname, port } = new URL(service.replace(/^bosh:/, ''));
    const host = hostname.replaceAll(/[[\]]/g, '');
    const xmpp = { host, port: Number(port), of: 'client', direct: false } as const;
    const web = { host, port: Number(port || 443), of: 'https' } as const;
    throw await withDate(error, protocol === 'xmpp:' ? xmpp : web, domain, Math.min(DATE_MS, this.leftMs));
  }

  /** Where the DNS leads clients, or other domains' servers, each of which greets; nowhere when none is to be asked. */
  async ledTo(of: 'client' | 'server'): Promise<Led[]> {
    const { domain, resolver } = this.order.target;
    if (resolver === null) return [];
    const led = await this.expect(`to be led to ${domain} by the name server ${resolver}`, () =>
      ledTo(domain, of, resolver),
    );
    await Promise.all(
      led.map(({ by, host, address, port, direct }) =>
        this.expect(`a greeting at ${host}:${port} (${address}), to which ${by} leads`, () =>
          greets({ host: address, port, of, direct }, domain, this.over),
        ),
      ),
    );
    return led;
  }

  /** What `session` hears and `test` is looking for; also when it has heard it already. */
  hears(session: Session, expected: string, test: (stanza: Stanza) => boolean): Promise<Stanza> {
    return this.expect(expected, () => session.hear(test));
  }

  /** Says something unheard of, and waits until the other one hears it. */
  async delivers(what: string, from: Session, to: Session, options: SayOptions & { to?: string } = {}): Promise<void> {
    const body = from.say(options.to ?? to.jid, options);
    const returned = from
      .hear((stanza) => isReturned(stanza, body))
      .then((stanza) => {
        throw new Error(`it come back: ${errorOf(stanza)}`);
      });
    await this.expect(what, () => Promise.race([to.hear((stanza) => bodyOf(stanza) === body), returned]));
  }

  /** As far as the servers answer; none is waited for longer than `limitMs`. */
  async close(limitMs: number): Promise<void> {
    const patience = new Promise((resolve) => setTimeout(resolve, limitMs).unref());
    await Promise.race([Promise.all(this.sessions.map((session) => session.close(limitMs))), patience]);
  }
}

export interface SayOptions {
  /** Kept by nobody, so that it leaves nothing behind. Left out: it is. */
  kept?: boolean;
}

/** To the session itself too its presence is sent (RFC 6121, 4.2.2). */
const isOwnPresence = (stanza: Stanza, jid: string): boolean =>
  stanza.is('presence') && stanza.attrs['from'] === jid && stanza.attrs['type'] === undefined;

export const bodyOf = (stanza: Stanza): string | null =>
  stanza.is('message') && stanza.attrs['type'] !== 'error' ? stanza.getChildText('body') : null;

/** Whether it is the error that came back for what was said. */
export const isReturned = (stanza: Stanza, body: string): boolean =>
  stanza.is('message') && stanza.attrs['type'] === 'error' && stanza.attrs['id'] === body.slice(-36);

/** The condition of an error (RFC 6120, 8.3). */
const errorOf = (stanza: Stanza): string =>
  stanza
    .getChild('error')
    ?.getChildElements()
    .find((child) => child.name !== 'text')?.name ?? 'an error';

/** Of an error, what may be told: conditions of the protocol, codes of the system. Never what a user wrote. */
export function seenOf(error: unknown): string {
  const { condition, message, errors } = error as { condition?: string; message?: string; errors?: Error[] };
  if (condition) return condition;
  if (errors?.length) return errors.map((e) => e.message).join(', ');
  const { cause } = error as { cause?: Error };
  const text = message === undefined || message === '' ? String(error) : message;
  return cause?.message ? `${text}: ${cause.message}` : text;
}
