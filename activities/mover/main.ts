import { createJobs } from './jobs.ts';
import { failureToPlain, fromPlain, type FromMover, type ToMover } from './messages.ts';

/**
 * The data mover: does one job and ends. A process of its own, so that bulk data can neither fill the worker's memory nor
 * hold up its other work; it ends with the worker, whatever becomes of that.
 */
const cancel = new AbortController();

function send(message: FromMover, sent: () => void = () => undefined): void {
  if (process.connected) process.send?.(message, sent);
}

async function run({ settings, job, input }: Extract<ToMover, { start: unknown }>['start']): Promise<void> {
  const heartbeat = (progress: Record<string, number>): void => send({ heartbeat: progress });
  const jobs = createJobs(fromPlain(settings), () => ({ heartbeat, signal: cancel.signal }));
  const done = (message: FromMover): void => send(message, () => process.exit(0));
  try {
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
