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

/** What a client tells. `at`: the address that it came to, redirects followed. */
export type Told =
  | { online: { at: string } }
  | { failed: string }
  | { heard: string }
  | { saw: string }
  | { stanza: string }
  | { ended: string };

const LIMIT_MS = 8000;

/** In a process of its own: what the library leaves behind, timers and late errors, goes with it. */
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
  private readonly child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.child = child;
    child.on('message', (told: Told) => {
      if ('heard' in told) this.heard.push(told.heard);
      if ('saw' in told) this.saw.push(told.saw);
      if ('stanza' in told) this.stanzas.push(told.stanza);
      if ('ended' in told) this.ended ??= told.ended;
    });
  }

  /** Signs in, following one redirect as clients do. Rejects with the condition that the server gives. */
  static async open(where: Where): Promise<Session> {
    const child = fork(PROGRAM, [], { env: { ...moverEnvironment(), NODE_EXTRA_CA_CERTS: where.authority } });
    const session = new Session(child);
    child.send(where);
    try {
      session.at = await new Promise((resolve, reject) => {
        AbortSignal.timeout(LIMIT_MS).addEventListener('abort', () => reject(new Error('no answer in time')));
        child.on('message', (told: Told) => {
          if ('online' in told) resolve(told.online.at);
          if ('failed' in told) reject(new Error(told.failed));
        });
        child.once('exit', () => reject(new Error('the client ended by itself')));
      });
      return session;
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    }
  }

  say(to: string, body: string): void {
    this.child.send({ to, body });
  }

  /** A stanza as it is written here, well-formed or not. */
  send(stanza: string): void {
    this.child.send({ stanza });
  }

  /** Without a word, as a client does whose machine is switched off. */
  leave(): void {
    this.child.kill('SIGKILL');
  }
}
