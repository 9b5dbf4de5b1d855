import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { toPlain, type FromMover, type JobName, type ToMover } from '../../activities/mover/messages.ts';
import { MOVER_HEAP, moverEnvironment } from '../../activities/mover/process.ts';
import type { SiteSettings } from '../../activities/settings.ts';

const MAIN = fileURLToPath(new URL('../../activities/mover/main.ts', import.meta.url));

/** How a data mover ended: by its own word, or by a signal in front of it. */
export type End = { result: unknown } | { failure: string } | { killed: true };

/** A data mover as production has it, whose process can be killed with -9. Started ahead of its job, so as to be warm. */
export class DoomedMover {
  private readonly child: ChildProcess;
  private readonly exit: Promise<unknown>;
  private killed = false;

  /** `main`: the production's, unless told. */
  constructor(main: string = MAIN) {
    this.child = fork(main, [], {
      env: moverEnvironment(),
      execArgv: MOVER_HEAP,
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    this.exit = once(this.child, 'close'); // After its last word.
  }

  async run(settings: SiteSettings, job: JobName, input: unknown): Promise<End> {
    let word: End = { failure: 'it ended without a word' };
    this.child.on('message', (message: FromMover) => {
      if ('result' in message) word = { result: message.result };
      if ('failure' in message) word = { failure: `${message.failure.type}: ${message.failure.message}` };
    });
    this.child.send({ start: { settings: toPlain(settings), job, input } } satisfies ToMover);
    await this.exit;
    return this.killed ? { killed: true } : word;
  }

  kill = (): void => {
    this.killed = true;
    this.child.kill('SIGKILL');
  };

  /** Of one that was never given a job. */
  async close(): Promise<void> {
    this.kill();
    await this.exit;
  }
}
