import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { CommandEnd, FromSupervisor, SupervisedCommand, ToSupervisor } from './supervisor-messages.ts';

const MAIN = fileURLToPath(new URL('supervisor.ts', import.meta.url));
/** MiB: it holds a few kilobytes of output. */
const HEAP = ['--max-semi-space-size=1', '--max-old-space-size=24'];
/** An end that is due is reported within this time; under load a process takes seconds to start. */
const PATIENCE_MS = 5000;

/** Runs a command under its supervisor. Settles when nothing of it is left; throws the signal's reason when it was ended by that. */
export async function supervise(command: SupervisedCommand, signal: AbortSignal): Promise<CommandEnd> {
  signal.throwIfAborted();
  const supervisor = fork(MAIN, [], { env: {}, execArgv: HEAP, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  let group: number | null = null;
  let late: NodeJS.Timeout | undefined;
  const within = (ms: number, otherwise: () => void): void => {
    clearTimeout(late);
    late = setTimeout(otherwise, ms);
  };
  // Without this end of its channel it kills the group by itself; one that stands still does not.
  const letGo = (): void => {
    if (supervisor.connected) supervisor.disconnect();
    within(PATIENCE_MS, () => supervisor.kill('SIGKILL'));
  };
  const cancel = (): void => {
    if (supervisor.connected) supervisor.send({ cancel: true } satisfies ToSupervisor);
    within(PATIENCE_MS, letGo);
  };
  within(command.limitMs + PATIENCE_MS, letGo);
  signal.addEventListener('abort', cancel, { once: true });
  try {
    const ended = await new Promise<CommandEnd>((resolve) => {
      let end: CommandEnd | null = null;
      supervisor.on('message', (message: FromSupervisor) => {
        if ('started' in message) group = message.started;
        else end = message.ended;
      });
      // Of one that has started its command, the end is waited for, whatever a message to it met with.
      supervisor.on('error', (error) => {
        if (group === null) resolve(unstarted(error));
      });
      supervisor.on('close', (code, killed) => {
        if (end) return resolve(end);
        if (group !== null) killGroup(group); // Its supervisor was killed: the command must not outlive it.
        return resolve({ how: 'cancel', code, signal: killed, bytes: 0, tail: 'its supervisor ended' });
      });
      supervisor.send({ run: command } satisfies ToSupervisor);
    });
    // One that came to its own end before that has done what it was to do.
    if (ended.how !== 'exit') signal.throwIfAborted();
    return ended;
  } finally {
    clearTimeout(late);
    signal.removeEventListener('abort', cancel);
  }
}

const unstarted = (error: NodeJS.ErrnoException): CommandEnd => ({
  how: 'unstarted',
  code: null,
  signal: null,
  bytes: 0,
  tail: error.code ?? error.message,
});

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // Nobody is left in it.
  }
}
