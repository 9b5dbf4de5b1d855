import type { FailoverReport } from '../../workflows/model/moves.ts';
import type { Vault } from '../vault/port.ts';
import type { Signed } from '../vault/signed.ts';
import {
  journalKey,
  journalPlace,
  journalPrefix,
  oldestObject,
  type JournalDocument,
  type JournalExport,
  type JournalOwner,
  type JournalPlace,
  type JournalSegment,
} from './objects.ts';
import type { LedgerPart } from './recovery.ts';

/** The journals of one site, in its own vault or as its peer has copied them. */
export interface JournalShelf extends JournalOwner {
  vault: Vault;
  signal?: AbortSignal;
}

/** What a vault holds of a move, by the names of its objects. */
export interface HeldMove {
  move: string;
  journal: boolean;
  report: boolean;
  /** Numbers of the first lines of its segments. */
  segments: number[];
  /** The parts of its recovery ledgers. */
  ledger: { ledger: string; part: number }[];
}

/** What a site has signed of one move, as it lies in a vault. */
export interface SealedJournal {
  segments: Signed<JournalSegment>[];
  journal: Signed<JournalExport> | null;
  report: Signed<FailoverReport> | null;
  /** Left out of evidence that is older than ledgers. */
  ledger?: Signed<LedgerPart>[];
}

/** The moves that a vault knows of a site, in the order of their ids. */
export async function listMoves({ vault, customer, site, signal }: JournalShelf): Promise<HeldMove[]> {
  const prefix = journalPrefix(customer, site);
  const moves = new Map<string, HeldMove>();
  for await (const { key } of vault.list(prefix, signal && { signal })) {
    const place = journalPlace(key.slice(prefix.length));
    if (!place) continue;
    const held = moves.get(place.move) ?? { move: place.move, journal: false, report: false, segments: [], ledger: [] };
    moves.set(place.move, held);
    if (place.what === 'lines') held.segments.push(place.first);
    else if (place.what === 'ledger') held.ledger.push({ ledger: place.ledger, part: place.part });
    else held[place.what] = true;
  }
  return [...moves.values()];
}

/** Fails as `signature-invalid` when something stands under a key that its site has not signed. */
export async function readSealed(shelf: JournalShelf, held: HeldMove): Promise<SealedJournal> {
  const segments: Signed<JournalSegment>[] = [];
  for (const first of held.segments) {
    const found = await readObject(shelf, { move: held.move, what: 'lines', first });
    if (found) segments.push(found as Signed<JournalSegment>);
  }
  const journal = held.journal ? await readObject(shelf, { move: held.move, what: 'journal' }) : null;
  const report = await readReport(shelf, held);
  return { segments, journal: journal as Signed<JournalExport> | null, report, ledger: await readLedger(shelf, held) };
}

/** All parts of the recovery ledgers of a move. */
export async function readLedger(shelf: JournalShelf, held: HeldMove): Promise<Signed<LedgerPart>[]> {
  const parts: Signed<LedgerPart>[] = [];
  for (const part of held.ledger) {
    const found = await readObject(shelf, { move: held.move, what: 'ledger', ...part });
    if (found) parts.push(found as Signed<LedgerPart>);
  }
  return parts;
}

/** Null when the move has none: it runs, or ended without a word. */
export async function readReport(
  shelf: JournalShelf,
  { move, report }: HeldMove,
): Promise<Signed<FailoverReport> | null> {
  return report ? ((await readObject(shelf, { move, what: 'report' })) as Signed<FailoverReport> | null) : null;
}

async function readObject(shelf: JournalShelf, place: JournalPlace): Promise<Signed<JournalDocument> | null> {
  const { vault, customer, site, signal } = shelf;
  const key = journalKey(customer, site, place);
  const versions = await vault.versions(key, signal && { signal });
  return oldestObject(shelf, place, versions, `vault ${vault.site}: ${key}`)?.sealed ?? null;
}
