import { serialize } from 'node:v8';
import type { Running } from '../running.ts';
import type { MoverJob } from './messages.ts';
import { MoverProcess } from './process.ts';

/** So many processes wait at the most; each holds up to 256 MiB. */
const KEPT = 2;
/**
 * The last copy of a planned move follows the one before it within this time, at both sites, and users are served nowhere
 * meanwhile: a new process would take longer to begin than the copy takes.
 */
const KEPT_MS = 60_000;

interface Waiting {
  mover: MoverProcess;
  /** The settings that it knows, secrets included: it is given no job under others. */
  told: Buffer;
  timer: NodeJS.Timeout;
}

/** Processes that have done a job stay for a while, for the next one of the same customer under the same settings. */
export class KeptMovers {
  private waiting: Waiting[] = [];

  async run(start: MoverJob, running: Running): Promise<unknown> {
    running.signal.throwIfAborted();
    const told = serialize(start.settings);
    const mover = this.take(told) ?? this.begin();
    try {
      const result = await mover.run({ ...start, stays: true }, running);
      this.keep(mover, told);
      return result;
    } catch (error) {
      // Whatever it was at: the next job begins in a new one.
      mover.end();
      throw error;
    }
  }

  private begin(): MoverProcess {
    const mover = new MoverProcess();
    mover.onEnd(() => this.leave(mover));
    return mover;
  }

  private take(told: Buffer): MoverProcess | null {
    const found = this.waiting.find((one) => one.told.equals(told) && one.mover.lives);
    if (!found) return null;
    this.leave(found.mover);
    found.mover.wake();
    return found.mover;
  }

  private keep(mover: MoverProcess, told: Buffer): void {
    if (!mover.lives) return mover.end();
    mover.rest();
    this.waiting.push({ mover, told, timer: setTimeout(() => this.dismiss(mover), KEPT_MS).unref() });
    const [oldest] = this.waiting;
    if (oldest && this.waiting.length > KEPT) this.dismiss(oldest.mover);
  }

  private dismiss(mover: MoverProcess): void {
    this.leave(mover);
    mover.end();
  }

  private leave(mover: MoverProcess): void {
    clearTimeout(this.waiting.find((one) => one.mover === mover)?.timer);
    this.waiting = this.waiting.filter((one) => one.mover !== mover);
  }
}
