/** A place that was given back, or was never asked for again. */
type Leave = () => void;

/**
 * How many processes of one kind work at the same time: a hundred customers who move at once would otherwise need a
 * hundred times their memory. Whoever finds no place waits in line, and leaves it when he is asked to stop.
 */
export class Slots {
  private free: number;
  private readonly line: (() => void)[] = [];

  constructor(size: number) {
    this.free = size;
  }

  /** Whether whoever asks now has to wait. */
  get full(): boolean {
    return this.free <= 0;
  }

  /** Resolves when there is a place; the answer gives it back. Rejects as the signal does. */
  async take(signal: AbortSignal): Promise<Leave> {
    signal.throwIfAborted();
    if (this.free > 0) this.free -= 1;
    else await this.wait(signal);
    let left = false;
    return () => {
      if (left) return;
      left = true;
      const next = this.line.shift();
      if (next) next();
      else this.free += 1;
    };
  }

  private wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const called = (): void => {
        signal.removeEventListener('abort', stop);
        resolve();
      };
      const stop = (): void => {
        this.line.splice(this.line.indexOf(called), 1);
        reject(signal.reason as Error);
      };
      this.line.push(called);
      signal.addEventListener('abort', stop, { once: true });
    });
  }
}
