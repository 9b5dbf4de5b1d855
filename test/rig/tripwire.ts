/** What ends a process at one of its calls: before the server hears of it, or after it did it and before it answers. */
export interface Death {
  when: 'before' | 'after';
  kill: () => void;
}

/** Counts the calls of one process to its servers, by whichever proxy they go, and ends it at the one that is chosen. */
export class Tripwire {
  /** What each call was, in their order. */
  calls: string[] = [];
  private trap: (Death & { at: number }) | null = null;

  /** From here on; the count begins anew. Without a trap everything passes. */
  set(trap: (Death & { at: number }) | null = null): void {
    this.trap = trap;
    this.calls = [];
  }

  /** What was counted stays. */
  disarm(): void {
    this.trap = null;
  }

  /** To be asked for each call, in front of it. */
  next(call: string): Death | null {
    this.calls.push(call);
    return this.trap?.at === this.calls.length ? this.trap : null;
  }
}
