import { fork, type ChildProcess } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { failure } from '../../workflows/model/failures.ts';
import type { Running } from '../running.ts';
import type { SiteSettings } from '../settings.ts';
import type { SiteActivities } from '../types.ts';
import { failureFromPlain, jobNames, toPlain, type FromMover, type JobName, type ToMover } from './messages.ts';
import { Slots } from './slots.ts';

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

/** What a move waits for, which is each of its steps. It never stands in line behind a snapshot of the schedule, or a check. */
const isUrgent = (input: unknown): boolean => typeof input === 'object' && input !== null && 'key' in input;
/** Of each of the two kinds; a process takes up to 256 MiB, and about one processor. */
const AT_ONCE = Math.max(2, availableParallelism());

/** The bulk activities of a site, each run in a process of its own, a few at a time. */
export function createMovedActivities(settings: SiteSettings, running: () => Running): Pick<SiteActivities, JobName> {
  const lanes = { urgent: new Slots(AT_ONCE), other: new Slots(AT_ONCE) };
  const move = async (job: JobName, input: unknown, run: Running): Promise<unknown> => {
    const leave = await lanes[isUrgent(input) ? 'urgent' : 'other'].take(run.signal);
    try {
      return await moveInProcess(settings, job, input, run);
    } finally {
      leave();
    }
  };
  const moved = jobNames.map((job) => [job, (input: unknown) => move(job, input, running())]);
  return Object.fromEntries(moved) as Pick<SiteActivities, JobName>;
}

/** Runs one job; its failure is the job's own. A process that dies without a word is `mover-died`. */
export async function moveInProcess(
  settings: SiteSettings,
  job: JobName,
  input: unknown,
  { heartbeat, signal }: Running,
  peak: (bytes: number) => void = () => undefined,
): Promise<unknown> {
  signal.throwIfAborted();
  const child = fork(MAIN, [], {
    env: moverEnvironment(),
    execArgv: MOVER_HEAP,
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  const stop = (): void => askToEnd(child);
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await new Promise<unknown>((resolve, reject) => {
      let words = '';
      child.stderr?.setEncoding('utf8').on('data', (text: string) => {
        words = (words + text).slice(-STDERR_BYTES);
      });
      child.on('message', (message: FromMover) => {
        if ('heartbeat' in message) return heartbeat(message.heartbeat);
        if ('failure' in message) return reject(failureFromPlain(message.failure));
        peak(message.peakBytes);
        return resolve(message.result);
      });
      child.on('error', reject);
      // Its last word may come after its exit, never after its close.
      child.on('close', (code, killed) => {
        const how = killed ? `ended by ${killed}` : `ended with code ${code}`;
        reject(failure('mover-died', `data mover: ${job} ${how}${words.trim() === '' ? '' : `: ${words.trim()}`}`));
      });
      child.send({ start: { settings: toPlain(forJob(settings, input)), job, input } } satisfies ToMover);
    });
  } catch (error) {
    signal.throwIfAborted(); // Cancelled: whatever the job said at its end.
    throw error;
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/**
 * A job is told the secrets of its own customer alone, and none of the service's, the zone's or the probes'. Of a customer that is not known it is told
 * what there is, for its error.
 */
function forJob(settings: SiteSettings, input: unknown): SiteSettings {
  const named = input as { customer?: string; snapshot?: { customer: string }; key?: { customer: string } };
  const own = settings.customers.get(named.customer ?? named.snapshot?.customer ?? named.key?.customer ?? '');
  const services = new Map([...settings.services].map(([site, at]) => [site, { ...at, management: null }]));
  if (!own) return { ...settings, services };
  // No job asks the directory, changes the zone or signs in: their secrets stay here.
  const { dns: _, probes: __, directory: ___, ...rest } = own;
  return { ...settings, services, customers: new Map([[own.id, rest]]) };
}

function askToEnd(child: ChildProcess): void {
  if (child.connected) child.send({ cancel: true } satisfies ToMover);
  const late = setTimeout(() => child.kill('SIGKILL'), CANCEL_MS);
  child.once('exit', () => clearTimeout(late));
}
