import { spawn, type ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import type { CommandEnd, FromSupervisor, SupervisedCommand, ToSupervisor } from './supervisor-messages.ts';

/**
 * Supervises one command: a process of its own, so that the command ends with the worker, whatever becomes of that. The
 * command and all that it starts are one process group, which is killed at the limit, at a cancel, when the worker is
 * gone, and also after the command itself has ended: nothing of it stays behind.
 */

/** What is kept of the output, for an error. */
const TAIL_BYTES = 2000;
/** A killed group is waited for, so that nothing of it lands later; the kernel takes no longer. */
const GONE_MS = 1000;

let child: ChildProcess | null = null;
let how: CommandEnd['how'] = 'exit';

function killGroup(): void {
  if (child?.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // Nobody is left in it.
  }
}

function end(because: CommandEnd['how']): void {
  if (how === 'exit') how = because;
  killGroup();
}

async function groupGone(group: number): Promise<void> {
  for (const until = performance.now() + GONE_MS; performance.now() < until && groupLives(group);)
    await new Promise((resolve) => setTimeout(resolve, 5));
}

/** Whether a process of the group can still do anything. The dead that nobody has buried (no init in a container) cannot. */
function groupLives(group: number): boolean {
  return readdirSync('/proc').some((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      const [state, , theirs] = stat.slice(stat.lastIndexOf(')') + 2).split(' '); // proc_pid_stat(5)
      return Number(theirs) === group && state !== 'Z' && state !== 'X';
    } catch {
      return false; // Gone while it was looked at.
    }
  });
}

function send(message: FromSupervisor, sent: () => void = () => undefined): void {
  if (process.connected) process.send?.(message, sent);
  else sent();
}

function start({ argv, environment, limitMs, outputBytes }: SupervisedCommand): void {
  const [program = '', ...rest] = argv;
  const started = spawn(program, rest, {
    cwd: '/',
    env: environment,
    detached: true, // A group of its own.
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child = started;
  if (started.pid !== undefined) send({ started: started.pid });
  const limit = setTimeout(() => end('limit'), limitMs);
  let bytes = 0;
  let tail = Buffer.alloc(0);
  const heard = (chunk: Buffer): void => {
    bytes += chunk.length;
    tail = Buffer.concat([tail, chunk]).subarray(-TAIL_BYTES);
    if (bytes > outputBytes) end('output');
  };
  started.stdout.on('data', heard);
  started.stderr.on('data', heard);
  const leave = (code: number | null, signal: string | null, text = tail.toString('utf8')): void => {
    clearTimeout(limit);
    send({ ended: { how, code, signal, bytes, tail: text } }, () => process.exit(0));
  };
  started.once('error', (error) => {
    how = 'unstarted';
    leave(null, null, (error as NodeJS.ErrnoException).code ?? error.message);
  });
  started.once('exit', (code, signal) => {
    killGroup(); // What it left running.
    // Its pipes close with the group; one that has left the group may keep them open, and is not waited for.
    const heardAll = new Promise((resolve) => started.once('close', resolve));
    const patience = new Promise((resolve) => setTimeout(resolve, GONE_MS));
    void Promise.all([groupGone(started.pid ?? 0), Promise.race([heardAll, patience])]).then(() => leave(code, signal));
  });
}

process.on('disconnect', () => {
  killGroup();
  process.exit(1);
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => end('cancel'));
}
process.on('message', (message: ToSupervisor) => {
  if ('cancel' in message) end('cancel');
  else start(message.run);
});
