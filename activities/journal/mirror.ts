import { failure, failureKind } from '../../workflows/model/failures.ts';
import { canonicalJson } from '../../workflows/model/plan.ts';
import type { OwnSite } from '../services/site.ts';
import { seal } from '../vault/signed.ts';
import { readJournal, type JournalLine } from './chain.ts';
import { EVIDENCE_MS, journalKey, oldestObject, type JournalPlace, type JournalSegment } from './objects.ts';
import { putSealed } from './put.ts';

/** Small enough to be read in one piece: what a vault that was away for days has missed goes in several. */
const SEGMENT_LINES = 500;

/** A vault that does not answer costs a move no more than this at a time. */
const LIMIT_MS = 2000;

interface Move {
  customer: string;
  move: string;
}

/**
 * Brings the lines that are not in this site's vault yet there, and says whether all are. The database is the truth, and
 * a vault that is away, or slow, or holds something else stops nothing: the next call tries again, and the closing
 * requires it.
 */
export async function tryMirror(site: OwnSite, move: Move): Promise<boolean> {
  try {
    await mirrorJournal(site, move, AbortSignal.timeout(LIMIT_MS));
    return true;
  } catch {
    return false;
  }
}

/**
 * Puts the lines of a move that this site's vault does not hold there, one signed, locked segment after the other. Safe
 * to repeat and to run twice at once: a segment is written once, under the number of its first line, and what stands
 * there already must be what the database says. `journal-broken` when it says otherwise.
 */
export async function mirrorJournal(site: OwnSite, move: Move, signal?: AbortSignal): Promise<void> {
  for (;;) {
    const { lines, previous, ledger } = await missing(site, move);
    const [first] = lines;
    if (!first) return ledger ? mirrorLedger(site, move, signal) : undefined;
    const held = await putSegment(site, move, { lines, previous, first: first.seq }, signal);
    await site
      .database(move.customer)
      .query('update tandem.move set mirrored = greatest(mirrored, $2) where move = $1', [move.move, held]);
    if (held >= first.seq + lines.length - 1 && lines.length < SEGMENT_LINES)
      return ledger ? mirrorLedger(site, move, signal) : undefined;
  }
}

/** Brings the recovery ledger there, one part in memory at a time. */
export async function mirrorLedger(site: OwnSite, { customer, move }: Move, signal?: AbortSignal): Promise<void> {
  const database = site.database(customer);
  for (;;) {
    const [row] = await database.query<{ ledger: string; part: number; document: string }>(
      'select ledger, part, document from tandem.recovery where move = $1 and not mirrored order by ledger, part limit 1',
      [move],
    );
    if (!row) return;
    const { ledger, part, document } = row;
    const key = journalKey(customer, site.settings.site, { move, what: 'ledger', ledger, part });
    const lockUntil = new Date(Date.now() + EVIDENCE_MS);
    await putSealed(site, { purpose: 'ledger', key, document: JSON.parse(document), lockUntil }, signal);
    await database.query('update tandem.recovery set mirrored = true where move = $1 and ledger = $2 and part = $3', [
      move,
      ledger,
      part,
    ]);
  }
}

/** Puts those of all lines of a move that no segment holds into segments of their own, between those that are there. */
export async function mirrorGaps(
  site: OwnSite,
  move: Move,
  { lines, held }: { lines: readonly JournalLine[]; held: ReadonlySet<number> },
  signal?: AbortSignal,
): Promise<void> {
  let gap: JournalLine[] = [];
  for (const [i, line] of lines.entries()) {
    if (held.has(line.seq)) continue;
    gap.push(line);
    const next = lines[i + 1];
    if (next && !held.has(next.seq) && gap.length < SEGMENT_LINES) continue;
    const first = gap[0]?.seq ?? line.seq;
    const previous = lines.find(({ seq }) => seq === first - 1)?.hash ?? null;
    await putSegment(site, move, { lines: gap, previous, first }, signal);
    gap = [];
  }
}

/** What the vault does not hold yet, as far as one segment goes, and the hash that it follows. */
async function missing(
  site: OwnSite,
  { customer, move }: Move,
): Promise<{ lines: JournalLine[]; previous: string | null; ledger: boolean }> {
  return site.database(customer).connection(async (client) => {
    const { rows } = await client.query<{ mirrored: number; ledger: boolean }>(
      `select mirrored, exists (select from tandem.recovery r where r.move = m.move and not r.mirrored) as ledger
         from tandem.move m where move = $1`,
      [move],
    );
    const mark = rows[0]?.mirrored ?? 0;
    const read = await readJournal(client, move, { from: mark, to: mark + SEGMENT_LINES });
    const before = read.find(({ seq }) => seq === mark);
    return {
      lines: read.filter(({ seq }) => seq > mark),
      previous: before?.hash ?? null,
      ledger: rows[0]?.ledger ?? false,
    };
  });
}

/** Answers the number of the last line that the segment in the vault holds. */
async function putSegment(
  site: OwnSite,
  { customer, move }: Move,
  { lines, previous, first }: { lines: JournalLine[]; previous: string | null; first: number },
  signal: AbortSignal | undefined,
): Promise<number> {
  const { settings, vault } = site;
  const { site: own, signingKey, publicKeys } = settings;
  const options = signal ? { signal } : {};
  const place: JournalPlace = { move, what: 'lines', first };
  const key = journalKey(customer, own, place);
  const segment: JournalSegment = {
    format: 1,
    customer,
    move,
    site: own,
    previous,
    lines,
    head: lines.at(-1)?.hash ?? '',
  };
  const body = seal('journal', own, signingKey, segment);
  const locked = { lockUntil: new Date(Date.now() + EVIDENCE_MS), ...options };
  if ((await vault.put(key, body, locked)) !== 'taken') return first + lines.length - 1;
  const there = await standing(vault.versions(key, options), (versions) =>
    oldestObject({ customer, site: own, publicKeys }, place, versions, `vault ${own}: ${key}`),
  );
  if (!there) {
    // What no signature vouches for stands in nobody's way.
    await vault.mend(key, body, locked);
    return first + lines.length - 1;
  }
  const other = there.sealed.document as JournalSegment;
  const last = first + other.lines.length - 1;
  // Another attempt's, which has seen fewer lines or more: it stands, and is judged by the database as it is now.
  const ours = await site
    .database(customer)
    .connection((client) => readJournal(client, move, { from: first, to: last }));
  if (other.previous === previous && canonicalJson(other.lines) === canonicalJson(ours)) return last;
  throw failure(
    'journal-broken',
    `journal of move ${move}: lines ${first} to ${last} are not those that vault ${own} holds, under ${key}`,
  );
}

/** What stands under a key and holds; null when nothing there does. */
async function standing<T>(versions: Promise<Buffer[]>, open: (versions: Buffer[]) => T | null): Promise<T | null> {
  const read = await versions;
  try {
    return open(read);
  } catch (error) {
    if (failureKind(error) === 'signature-invalid') return null;
    throw error;
  }
}
