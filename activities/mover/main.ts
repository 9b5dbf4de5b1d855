import { createJobs } from './jobs.ts';
import { failureToPlain, fromPlain, type FromMover, type MoverJob, type ToMover } from './messages.ts';

/**
 * The data mover: does one job at a time. A process of its own, so that bulk data can neither fill the worker's memory nor
 * hold up its other work; it ends with the worker, whatever becomes of that.
 */
let cancel = new AbortController();
/** By the settings that came first: all that come are the same. */
let jobs: ReturnType<typeof createJobs> | null = null;

function send(message: FromMover, sent: () => void = () => undefined): void {
  if (process.connected) process.send?.(message, sent);
}

const heartbeat = (progress: Record<string, number>): void => send({ heartbeat: progress });

async function run({ settings, job, input, stays = false }: MoverJob): Promise<void> {
  cancel = new AbortController();
  const done = (message: FromMover): void => send(message, () => stays || process.exit(0));
  try {
    jobs ??= createJobs(fromPlain(settings), () => ({ heartbeat, signal: cancel.signal }));
    const result: unknown = await jobs[job](input as never);
    done({ result, peakBytes: process.resourceUsage().maxRSS * 1024 });
  } catch (error) {
    done({ failure: failureToPlain(error) });
  }
}

process.on('disconnect', () => process.exit(1));
process.on('message', (message: ToMover) => {
  if ('cancel' in message) cancel.abort(new Error('cancelled'));
  else void run(message.start);
});
