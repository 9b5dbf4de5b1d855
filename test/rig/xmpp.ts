import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { moverEnvironment } from '../../activities/mover/process.ts';
export { scramRow } from '../../ops/embedded/people/accounts.ts';

/** A user at his client, for tests of the reference service. */

const PROGRAM = fileURLToPath(new URL('xmpp-client.ts', import.meta.url));

export interface Where {
  /** `host:port` at which the client begins. */
  at: string;
  domain: string;
  user: string;
  /** Tells two clients of one user apart. */
  resource?: string;
  password: string;
  /** Path of the authority's certificate, PEM. */
  authority: string;
}

/** What a client is asked to do. */
export type Asked = { where: Where } | { to: string; body: string } | { stanza: string } | { leave: true };

/** What a client tells. `at`: the address that it came to, redirects followed. */
export type Told =
  | { online: { at: string } }
  | { failed: string }
  | { heard: string }
  | { saw: string }
  | { stanza: string }
  | { ended: string };

const LIMIT_MS = 8000;

/**
 * A process of clients, who all believe one authority: what the library leaves behind, timers and late errors, is not the
 * test's. To start one for each session would be most of what a session costs.
 */
class Clients {
  private static readonly of = new Map<string, Clients>();
  private static last = 0;
  private readonly listeners = new Map<number, (told: Told) => void>();
  private readonly child: ChildProcess;

  private constructor(authority: string) {
    this.child = fork(PROGRAM, [], { env: { ...moverEnvironment(), NODE_EXTRA_CA_CERTS: authority } });
    this.child.on('message', ({ id, told }: { id: number; told: Told }) => this.listeners.get(id)?.(told));
    this.child.once('exit', () => {
      Clients.of.delete(authority);
      const why = 'the clients ended by themselves';
      for (const told of this.listeners.values()) for (const end of [{ failed: why }, { ended: why }]) told(end);
    });
    // It ends with its parent, and keeps it from nothing.
    this.child.unref();
    this.child.channel?.unref();
  }

  static believing(authority: string): Clients {
    const clients = Clients.of.get(authority) ?? new Clients(authority);
    Clients.of.set(authority, clients);
    return clients;
  }

  /** Signs a client in, whose words go to `listener`; its number. */
  open(where: Where, listener: (told: Told) => void): number {
    const id = (Clients.last += 1);
    this.listeners.set(id, listener);
    this.ask(id, { where });
    return id;
  }

  ask(id: number, asked: Asked): void {
    if (this.child.connected) this.child.send({ id, ...asked });
  }

  leave(id: number): void {
    this.listeners.delete(id);
    this.ask(id, { leave: true });
  }
}

/** One client of a user. */
export class Session {
  readonly heard: string[] = [];
  /** Presence of others, oldest first: `ADDRESS: available`, or another type. */
  readonly saw: string[] = [];
  /** All that came, as it came. */
  readonly stanzas: string[] = [];
  /** Why the server ended it; null while it lasts. */
  ended: string | null = null;
  /** The address that the session came to. */
  at = '';
  private readonly clients: Clients;
  private readonly id: number;
  private readonly begun = Promise.withResolvers<string>();

  private constructor(where: Where) {
    this.clients = Clients.believing(where.authority);
    this.id = this.clients.open(where, (told) => {
      if ('heard' in told) this.heard.push(told.heard);
      if ('saw' in told) this.saw.push(told.saw);
      if ('stanza' in told) this.stanzas.push(told.stanza);
      if ('ended' in told) this.ended ??= told.ended;
      if ('online' in told) this.begun.resolve(told.online.at);
      if ('failed' in told) this.begun.reject(new Error(told.failed));
    });
  }

  /** Signs in, following one redirect as clients do. Rejects with the condition that the server gives. */
  static async open(where: Where): Promise<Session> {
    const session = new Session(where);
    const late = setTimeout(() => session.begun.reject(new Error('no answer in time')), LIMIT_MS);
    try {
      session.at = await session.begun.promise;
      return session;
    } catch (error) {
      session.leave();
      throw error;
    } finally {
      clearTimeout(late);
    }
  }

  say(to: string, body: string): void {
    this.clients.ask(this.id, { to, body });
  }

  /** A stanza as it is written here, well-formed or not. */
  send(stanza: string): void {
    this.clients.ask(this.id, { stanza });
  }

  /** Without a word, as a client does whose machine is switched off. */
  leave(): void {
    this.clients.leave(this.id);
  }
}
