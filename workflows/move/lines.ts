import { CancellationScope } from '@temporalio/workflow';
import type { JournalEntry } from '../model/moves.ts';
import { record } from './activities.ts';

/**
 * Lines on their way into the journal, in their order: one write at a time, each with all that waits. A line leaves only
 * when it is written.
 */
export class Lines {
  private readonly waiting: JournalEntry[] = [];
  private added = 0;
  private written = 0;
  private writing: Promise<void> | null = null;
  private readonly refused: () => void;
  /**
   * Why the journal takes no line of this run any more: its move has ended, or another run has taken it over. It is no
   * longer this run's, which ends where it waits.
   */
  refusal: Error | null = null;

  /** `refused` is called when nothing more will be taken. */
  constructor(refused: () => void) {
    this.refused = refused;
  }

  /** The line's key is its place and its time: after Temporal was restored from a backup, other lines have other keys. */
  add(entry: Omit<JournalEntry, 'key'>): void {
    this.waiting.push({ ...entry, key: `${entry.kind}/${this.added}/${entry.at}` });
    this.added += 1;
  }

  /** Resolves when all lines added so far are in the journal. Nothing that people signed is acted on before it is there. */
  async flush(): Promise<void> {
    const last = this.added;
    while (this.written < last) {
      this.writing ??= this.write().finally(() => {
        this.writing = null;
      });
      await this.writing;
    }
  }

  private async write(): Promise<void> {
    const entries = [...this.waiting];
    // Whoever waits for it may be cancelled; the line may not.
    try {
      await CancellationScope.nonCancellable(() => record['write-journal']({ entries }));
    } catch (error) {
      this.refuse(error instanceof Error ? error : new Error(String(error)));
      throw error;
    }
    this.waiting.splice(0, entries.length);
    this.written += entries.length;
  }

  /** The journal is no longer this run's. */
  refuse(because: Error): void {
    this.refusal ??= because;
    this.refused();
  }
}
