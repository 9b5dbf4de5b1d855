import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

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

/** A process that waits for its job; it is told no secret before. */
export function startMover(): ChildProcess {
  return fork(MAIN, [], {
    env: moverEnvironment(),
    execArgv: MOVER_HEAP,
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
}

/** The copies of a planned move come within minutes of each other. About 90 MiB are held meanwhile. */
const KEPT_MS = 120_000;

/**
 * One process that has loaded all it needs before there is a job for it. Users wait for the last copy of a planned move, and half a second of
 * that would be loading, at either site. It keeps nobody alive, and ends with the worker.
 */
export class Spare {
  private readonly keptMs: number;
  private waiting: { child: ChildProcess; late: NodeJS.Timeout } | null = null;

  constructor(keptMs = KEPT_MS) {
    this.keptMs = keptMs;
  }

  /** That which waits, else a new one. */
  take(): ChildProcess {
    const child = this.waiting?.child;
    this.forget();
    if (!child?.connected || child.killed || child.exitCode !== null || child.signalCode !== null) return startMover();
    hold(child, 'ref');
    return child;
  }

  /** Has one wait from now on, for a while. */
  keep(): void {
    if (this.waiting) return void this.waiting.late.refresh();
    const child = startMover();
    const late = setTimeout(() => child.kill(), this.keptMs).unref();
    this.waiting = { child, late };
    hold(child, 'unref');
    // Whoever has taken it meanwhile hears of it himself.
    for (const event of ['exit', 'error'] as const)
      child.on(event, () => {
        if (this.waiting?.child === child) this.forget();
      });
  }

  private forget(): void {
    clearTimeout(this.waiting?.late);
    this.waiting = null;
  }
}

function hold(child: ChildProcess, how: 'ref' | 'unref'): void {
  child[how]();
  child.channel?.[how]();
  (child.stderr as Partial<Record<'ref' | 'unref', () => void>> | null)?.[how]?.();
}
