/**
 * What befalls a client, or its server, at one call: before the server hears of it, after it did it and before it answers,
 * or with a half of the first answer come. The connection carries nothing from then on.
 */
export interface Blow {
  when: 'before' | 'after' | 'amid';
  strike: () => void;
}

/** Counts the calls of one process to its servers, by whichever proxy they go, and strikes at the one that is chosen. */
export class Tripwire {
  /** What each call was, in their order. */
  calls: string[] = [];
  private trap: (Blow & { at: number }) | null = null;

  /** From here on; the count begins anew. Without a trap everything passes. */
  set(trap: (Blow & { at: number }) | null = null): void {
    this.trap = trap;
    this.calls = [];
  }

  /** What was counted stays. */
  disarm(): void {
    this.trap = null;
  }

  /** To be asked for each call, in front of it. */
  next(call: string): Blow | null {
    this.calls.push(call);
    return this.trap?.at === this.calls.length ? this.trap : null;
  }
}
