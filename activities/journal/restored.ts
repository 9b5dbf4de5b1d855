import { failureKind, failureText } from '../../workflows/model/failures.ts';
import { halvesOf, type Plan } from '../../workflows/model/plan.ts';
import type { SnapshotId } from '../../workflows/model/snapshots.ts';
import type { Database } from '../contacts/database.ts';
import type { JournalLine } from './chain.ts';
import { listMoves, readSealed, type JournalShelf } from './read.ts';

/** What moves have restored, by their journals: from there on both sides of a user went their own ways. */

/** A snapshot that a move under this epoch has restored, or was to restore if the first one failed. */
export interface Restored {
  move: string;
  halves: string[];
  epoch: number;
  snapshot: SnapshotId;
}

interface Journal {
  move: string;
  lines: readonly Pick<JournalLine, 'kind' | 'key' | 'body'>[];
  /** What its recovery ledgers are as of: a standby copy may have been newer than its plan knew. */
  ledgers: readonly SnapshotId[];
}

/** Who restores by hand leaves no effect of the first. */
const RESTORES: readonly unknown[] = ['restore-contacts', 'serve-users'];

/** Nothing of a move that has neither restored anybody nor served, nor of a planned one: that restores nothing. */
export function restoredBy({ move, lines, ledgers }: Journal): Restored[] {
  const plans = lines.filter(({ kind }) => kind === 'planned').map(({ body }) => body as unknown as Plan);
  const last = plans.at(-1);
  const effects = lines.filter(({ kind, key }) => kind === 'step' && key.startsWith('effect/'));
  if (!last || last.decisions.planned || !effects.some(({ body }) => RESTORES.includes(body['act']))) return [];
  const { epoch } = last.decisions;
  const planned = plans.flatMap(({ source, fallback }) => [source, ...(fallback ? [fallback] : [])]);
  return [...planned.map(({ snapshot }) => snapshot), ...ledgers].map((snapshot) => ({
    move,
    halves: halvesOf(last.decisions),
    epoch,
    snapshot,
  }));
}

/** By the moves of this site, as its own database has them. */
export async function restoredHere(database: Database, customer: string): Promise<Restored[]> {
  const lines = await database.query<{ move: string; kind: JournalLine['kind']; key: string; body: string }>(
    `select move, kind, key, body from tandem.journal where customer = $1 and kind in ('planned', 'step') order by move, seq`,
    [customer],
  );
  const heads = await database.query<{ move: string; snapshot: SnapshotId }>(
    `select r.move, r.document::jsonb -> 'snapshot' as snapshot
       from tandem.recovery r join tandem.move m using (move) where m.customer = $1 and r.part = 1`,
    [customer],
  );
  return [...Map.groupBy(lines, ({ move }) => move)].flatMap(([move, its]) =>
    restoredBy({
      move,
      lines: its.map((line) => ({ ...line, body: JSON.parse(line.body) as Record<string, unknown> })),
      ledgers: heads.filter((head) => head.move === move).map(({ snapshot }) => snapshot),
    }),
  );
}

/** By the moves of another site, as a vault has its journals. `unreadable`: why that is not all; null when it is. */
export async function restoredThere(shelf: JournalShelf): Promise<{ restored: Restored[]; unreadable: string | null }> {
  const restored: Restored[] = [];
  let unreadable: string | null = null;
  for (const held of await listMoves(shelf)) {
    try {
      const { segments, journal, ledger = [] } = await readSealed(shelf, held);
      const lines = journal?.document.lines ?? segments.flatMap(({ document }) => document.lines);
      const ledgers = ledger.map(({ document }) => document.snapshot);
      restored.push(...restoredBy({ move: held.move, lines, ledgers }));
    } catch (error) {
      if (failureKind(error) !== 'signature-invalid') throw error;
      unreadable ??= failureText(error);
    }
  }
  return { restored, unreadable };
}
