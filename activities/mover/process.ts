import { fork, type ChildProcess } from 'node:child_process';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { failure } from '../../workflows/model/failures.ts';
import type { Running } from '../running.ts';
import { failureFromPlain, type FromMover, type MoverJob, type ToMover } from './messages.ts';

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));

/** In MiB. What a job holds are buffers, outside of this: the heap itself stays small at any number of users. */
export const MOVER_HEAP = ['--max-semi-space-size=4', '--max-old-space-size=96'];
/** What a process needs of its surroundings; secrets of the worker's environment are not among it. */
const PASSED = new Set([
  'PATH',
  'TMPDIR',
  'TZ',
  'NODE_COMPILE_CACHE',
  'NODE_EXTRA_CA_CERTS',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
]);

/** With few arenas, memory that one thread has freed serves the next one, instead of being kept for it. */
export function moverEnvironment(): Record<string, string> {
  const passed = Object.entries(process.env).flatMap(([name, value]) =>
    value !== undefined && PASSED.has(name) ? [[name, value] as const] : [],
  );
  return { ...Object.fromEntries(passed), MALLOC_ARENA_MAX: '2' };
}

/** After being asked to end, a job may finish a transaction. */
const CANCEL_MS = 10_000;
/** Last words of a process that died. */
const STDERR_BYTES = 2000;

/** A process of the data mover: it does one job at a time, and ends with the worker that started it. */
export class MoverProcess {
  private readonly child: ChildProcess;
  private words = '';
  /** It was asked to end, and will be made to. */
  private ending = false;

  constructor() {
    this.child = fork(MAIN, [], {
      env: moverEnvironment(),
      execArgv: MOVER_HEAP,
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.words = (this.words + text).slice(-STDERR_BYTES);
    });
    // Unheard, what befalls one that waits would end the worker.
    this.child.on('error', () => undefined);
  }

  /** Runs one job; its failure is the job's own. A process that dies without a word is `mover-died`. */
  async run(
    start: MoverJob,
    { heartbeat, signal }: Running,
    peak: (bytes: number) => void = () => undefined,
  ): Promise<unknown> {
    signal.throwIfAborted();
    const { child } = this;
    this.words = '';
    const stop = (): void => this.cancel();
    signal.addEventListener('abort', stop, { once: true });
    const off: (() => void)[] = [() => signal.removeEventListener('abort', stop)];
    try {
      return await new Promise<unknown>((resolve, reject) => {
        const hear = (message: FromMover): void => {
          if ('heartbeat' in message) return heartbeat(message.heartbeat);
          if ('failure' in message) return reject(failureFromPlain(message.failure));
          peak(message.peakBytes);
          return resolve(message.result);
        };
        // Its last word may come after its exit, never after its close.
        const died = (code: number | null, killed: string | null): void => {
          const how = killed ? `ended by ${killed}` : `ended with code ${code}`;
          const words = this.words.trim();
          reject(failure('mover-died', `data mover: ${start.job} ${how}${words === '' ? '' : `: ${words}`}`));
        };
        child.on('message', hear).on('error', reject).on('close', died);
        off.push(() => child.off('message', hear).off('error', reject).off('close', died));
        child.send({ start } satisfies ToMover);
      });
    } catch (error) {
      signal.throwIfAborted(); // Cancelled: whatever the job said at its end.
      throw error;
    } finally {
      for (const undo of off) undo();
    }
  }

  /** Whether it can do another job. */
  get lives(): boolean {
    return this.child.connected && !this.ending;
  }

  /** While it waits for its next job it keeps nobody from ending. */
  rest(): void {
    this.child.unref();
    this.child.channel?.unref();
    (this.child.stderr as Socket | null)?.unref();
  }

  wake(): void {
    this.child.ref();
    this.child.channel?.ref();
    (this.child.stderr as Socket | null)?.ref();
  }

  /** Calls back when it has ended, whoever ended it. */
  onEnd(ended: () => void): void {
    this.child.once('exit', ended);
  }

  /** It has no job any more, or is given up: it ends as soon as its channel is gone. */
  end(): void {
    if (this.child.connected) this.child.disconnect();
  }

  private cancel(): void {
    const { child } = this;
    this.ending = true;
    if (child.connected) child.send({ cancel: true } satisfies ToMover);
    const late = setTimeout(() => child.kill('SIGKILL'), CANCEL_MS);
    child.once('exit', () => clearTimeout(late));
  }
}
