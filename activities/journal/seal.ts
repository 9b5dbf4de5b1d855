import { randomUUID } from 'node:crypto';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { failure, failureKind, failureText } from '../../workflows/model/failures.ts';
import type { FailoverReport } from '../../workflows/model/moves.ts';
import { canonicalJson } from '../../workflows/model/plan.ts';
import type { OwnSite } from '../services/site.ts';
import { chainFault, readJournal, type JournalLine } from './chain.ts';
import { ledgersSeen } from './judge.ts';
import { mirrorGaps, mirrorJournal, mirrorLedger } from './mirror.ts';
import { Mismatch } from './mismatch.ts';
import { putSealed } from './put.ts';
import { EVIDENCE_MS, journalKey, type JournalExport } from './objects.ts';
import { listMoves, readSealed, type SealedJournal } from './read.ts';

/** The last line of every journal. Its body is the report, so that the chain vouches for it. */
export const CLOSE = 'close';

interface Move {
  customer: string;
  move: string;
}

/** A move that has ended, by its journal. */
export interface EndedMove {
  lines: JournalLine[];
  report: FailoverReport;
}

/** `journal-broken` when the lines are not a whole chain up to the closing one. */
export function endedMove({ customer, move }: Move, lines: JournalLine[]): EndedMove {
  const fault = chainFault({ customer, move }, lines);
  const last = lines.at(-1);
  if (fault !== null || last?.key !== CLOSE)
    throw failure('journal-broken', `journal of move ${move}: ${fault ?? 'its last line is not the closing one'}`);
  const told = last.body['report'] as Omit<FailoverReport, 'journalHead'>;
  return { lines, report: { ...told, journalHead: last.hash } };
}

/**
 * Brings the evidence of a move that has ended into this site's vault: every line, then the whole journal and the report,
 * signed and locked. It counts as sealed when it has been read back from there, and is then left alone. Safe to repeat and
 * to run twice at once.
 */
export async function sealMove(site: OwnSite, { customer, move }: Move, signal?: AbortSignal): Promise<void> {
  const database = site.database(customer);
  const found = await database.query<{ sealed: boolean }>(
    'select sealed_at is not null as sealed from tandem.move where customer = $1 and move = $2',
    [customer, move],
  );
  if (!found[0]) throw failure('input-invalid', `move ${move} of ${customer}: not known here`);
  if (found[0].sealed) return;
  const { lines, report } = endedMove(
    { customer, move },
    await database.connection((client) => readJournal(client, move)),
  );
  const own = site.settings.site;
  const journal: JournalExport = { format: 1, customer, move, site: own, lines, head: report.journalHead };
  const lockUntil = new Date(Date.parse(report.endedAt) + EVIDENCE_MS);
  await mirrorJournal(site, { customer, move }, signal);
  const place = (what: 'journal' | 'report') => ({
    purpose: what,
    key: journalKey(customer, own, { move, what }),
    lockUntil,
  });
  await putSealed(site, { ...place('journal'), document: journal }, signal);
  await putSealed(site, { ...place('report'), document: report }, signal);
  await requireHeld(site, { customer, move }, lines, signal);
  await writeForPeople(site, report, null);
  await database.query('update tandem.move set sealed_at = now(), not_sealed = null where move = $1', [move]);
}

/**
 * The same; answers why it could not be done, and null when it is done. The reason is kept beside the move, for `status`. A
 * journal that was tampered with is `journal-broken`: no vault's return mends it.
 */
export async function trySeal(site: OwnSite, move: Move, signal: AbortSignal): Promise<string | null> {
  try {
    await sealMove(site, move, signal);
    return null;
  } catch (error) {
    const because = signal.aborted ? `vault ${site.settings.site}: no end within the limit` : failureText(error);
    await site
      .database(move.customer)
      .query('update tandem.move set not_sealed = $2 where move = $1 and sealed_at is null', [move.move, because]);
    if (failureKind(error) === 'journal-broken') throw error;
    return because;
  }
}

/** The moves of a customer that have ended here, whose evidence does not lie in this site's vault yet. */
export async function unsealedHere(site: OwnSite, customer: string): Promise<string[]> {
  const rows = await site.database(customer).query<{ move: string }>(UNSEALED, [customer]);
  return rows.map(({ move }) => move);
}

/** Oldest first. One that was closed by no line has nothing to seal. */
export const UNSEALED = `select m.move, m.ended_at, m.not_sealed, j.body as closing, j.hash as head
    from tandem.move m join tandem.journal j on j.move = m.move and j.key = '${CLOSE}'
   where m.customer = $1 and m.ended_at is not null and m.sealed_at is null order by m.ended_at`;

/**
 * The database remembers what it has brought to the vault; a vault that came back empty has none of it. What is not there
 * is brought again, once.
 */
async function requireHeld(
  site: OwnSite,
  move: Move,
  lines: readonly JournalLine[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const before = await heldOf(site, move, signal);
  if (missingIn(before, lines) === null) return;
  const told = before.segments.flatMap((s) => s.document.lines);
  await mirrorGaps(site, move, { lines, held: new Set(told.map(({ seq }) => seq)) }, signal);
  await site.database(move.customer).query('update tandem.recovery set mirrored = false where move = $1', [move.move]);
  await mirrorLedger(site, move, signal);
  const missing = missingIn(await heldOf(site, move, signal), lines);
  if (missing === null) return;
  throw failure('vault-refused', `vault ${site.settings.site}, move ${move.move}: ${missing}`);
}

type Held = SealedJournal & { customer: string; move: string; site: string };

/** What of a move's evidence is not there as it should be; null when all is. */
function missingIn(held: Held, lines: readonly JournalLine[]): string | null {
  const told = held.segments.flatMap((s) => s.document.lines);
  if (!held.journal || !held.report) return 'it took the journal and the report, and does not hold them';
  if (canonicalJson(told) !== canonicalJson(lines)) return 'it does not hold all lines of the journal';
  try {
    ledgersSeen(held, lines);
    return null;
  } catch (error) {
    if (error instanceof Mismatch) return error.message;
    throw error;
  }
}

async function heldOf(site: OwnSite, { customer, move }: Move, signal: AbortSignal | undefined): Promise<Held> {
  const { vault, settings } = site;
  const { site: own, publicKeys } = settings;
  const shelf = { vault, customer, site: own, publicKeys, ...(signal && { signal }) };
  const held = (await listMoves(shelf)).find((m) => m.move === move);
  const sealed = held ? await readSealed(shelf, held) : { segments: [], journal: null, report: null };
  return { customer, move, site: own, ...sealed };
}

/** Where the report of a move lies on this machine. */
export const reportPath = (site: OwnSite, move: string): string => join(site.settings.reportsFolder, `${move}.json`);

/** Whole or not at all: a reader never finds half a report. `notSealed` is said in it while the vault does not hold it. */
export async function writeForPeople(site: OwnSite, report: FailoverReport, notSealed: string | null): Promise<void> {
  const path = reportPath(site, report.move);
  const draft = `${path}.${randomUUID()}.tmp`;
  const told = notSealed === null ? report : { ...report, evidence: `not sealed yet: ${notSealed}` };
  try {
    await mkdir(site.settings.reportsFolder, { recursive: true });
    await writeFile(draft, `${JSON.stringify(told, null, 2)}\n`);
    await rename(draft, path);
  } catch (error) {
    throw failure('report-unwritable', `report ${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
