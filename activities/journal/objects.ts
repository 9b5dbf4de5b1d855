import type { KeyObject } from 'node:crypto';
import { failure, failureText } from '../../workflows/model/failures.ts';
import type { FailoverReport } from '../../workflows/model/moves.ts';
import { sitePrefix } from '../vault/manifest.ts';
import { digits } from '../vault/pack-reader.ts';
import { unseal, type Signed } from '../vault/signed.ts';
import { chainFault, type JournalLine } from './chain.ts';
import type { LedgerPart } from './recovery.ts';

/** The journal of a move as it lies in a vault: segments while it runs, then the whole of it, and the report. */

/** Evidence must outlive the next yearly test and its audit. */
export const EVIDENCE_MS = 400 * 24 * 3_600_000;

/** Some lines of a journal, put into the vault while the move runs. Those of all segments, in order, are the journal. */
export interface JournalSegment {
  format: 1;
  customer: string;
  move: string;
  /** Whose journal it is. */
  site: string;
  /** Hash of the line before the first, hex; null when the first is the journal's own. */
  previous: string | null;
  lines: JournalLine[];
  /** Hash of the last line, hex. */
  head: string;
}

/** The whole journal of a move that has ended. */
export interface JournalExport extends Omit<JournalSegment, 'previous'> {
  previous?: undefined;
}

/** What an object below `<customer>/<site>/journal/` is. */
export type JournalPlace = { move: string } & (
  | { what: 'lines'; first: number }
  | { what: 'journal' | 'report'; first?: undefined }
  /** A part, from 1, of the recovery ledger with this digest. */
  | { what: 'ledger'; ledger: string; part: number; first?: undefined }
);

export type JournalDocument = JournalSegment | JournalExport | FailoverReport | LedgerPart;

export const journalPrefix = (customer: string, site: string): string => `${sitePrefix(customer, site)}journal/`;

export const journalKey = (customer: string, site: string, place: JournalPlace): string =>
  `${journalPrefix(customer, site)}${place.move}/${nameOf(place)}.json`;

function nameOf(place: JournalPlace): string {
  if (place.what === 'lines') return `lines/${digits(place.first)}`;
  return place.what === 'ledger' ? `ledger/${place.ledger}/${digits(place.part)}` : place.what;
}

/** What a key, less its prefix, stands for; null when nothing of ours writes it. */
export function journalPlace(name: string): JournalPlace | null {
  const found =
    /^([A-Za-z0-9][A-Za-z0-9._-]{0,127})\/(?:lines\/(\d{10})|ledger\/([0-9a-f]{64})\/(\d{10})|(journal|report))\.json$/.exec(
      name,
    );
  const [, move, first, ledger, part, what] = found ?? [];
  if (move === undefined) return null;
  if (ledger !== undefined) return { move, what: 'ledger', ledger, part: Number(part) };
  if (first !== undefined) return { move, what: 'lines', first: Number(first) };
  return what === 'journal' || what === 'report' ? { move, what } : null;
}

export interface JournalOwner {
  customer: string;
  site: string;
  publicKeys: ReadonlyMap<string, KeyObject>;
}

/**
 * An object of a site's journal when that very site has signed it, for this very key; else `signature-invalid`, which
 * names `where`. A good signature of another site, or one for another move, is none.
 */
export function openObject(
  { customer, site, publicKeys }: JournalOwner,
  place: JournalPlace,
  bytes: Buffer,
  where: string,
): Signed<JournalDocument> {
  const own = new Map([...publicKeys].filter(([name]) => name === site));
  const purpose = place.what === 'lines' ? 'journal' : place.what;
  const sealed = unseal<JournalDocument>(purpose, own, bytes, where);
  const wrong = misplaced({ customer, site, place }, sealed.document);
  if (wrong !== null) throw failure('signature-invalid', `${where}: ${wrong}`);
  return sealed;
}

/** Why a document that a site has signed is not what belongs under its key; null when it is. */
function misplaced(
  { customer, site, place }: { customer: string; site: string; place: JournalPlace },
  document: JournalDocument,
): string | null {
  if (document.customer !== customer || document.move !== place.move)
    return `signed for move ${JSON.stringify(document.move)} of ${JSON.stringify(document.customer)}, not for this key`;
  if (document.format !== 1) return `format ${JSON.stringify(document.format)}, 1 is known`;
  if (place.what === 'ledger') return misplacedPart({ site, place }, document);
  if (place.what === 'report') return 'lines' in document ? 'signed as a journal, not as a report' : null;
  if (!('lines' in document) || document.site !== site) return 'signed as another kind of document';
  const { lines, previous, head } = document;
  const part = previous !== undefined;
  if (part !== (place.what === 'lines') || (part && (previous === null) !== (place.first === 1)))
    return 'not the part of a journal that its key names';
  const after = part ? { seq: (place.first ?? 1) - 1, hash: previous } : undefined;
  return chainFault(document, lines, after) ?? (lines.at(-1)?.hash === head ? null : 'its head is not its last line');
}

/** Whether it is whole, only the journal can tell: its line names the digest of all parts. */
function misplacedPart(
  { site, place }: { site: string; place: JournalPlace & { what: 'ledger' } },
  document: JournalDocument,
): string | null {
  if (!('entries' in document) || document.site !== site) return 'signed as another kind of document';
  if (document.ledger !== place.ledger || document.part !== place.part)
    return `part ${document.part} of ledger ${document.ledger}, not the one that its key names`;
  return null;
}

/** The oldest version that holds, and its bytes; null when there is none of it. When none of them holds, the last one's fault. */
export function oldestObject(
  owner: JournalOwner,
  place: JournalPlace,
  versions: readonly Buffer[],
  where: string,
): { sealed: Signed<JournalDocument>; bytes: Buffer } | null {
  let fault: Error | null = null;
  for (const bytes of versions) {
    try {
      return { sealed: openObject(owner, place, bytes, where), bytes };
    } catch (error) {
      // What is signed and has another shape than its type says is no better than what is not signed.
      fault =
        error instanceof TypeError ? failure('signature-invalid', `${where}: ${failureText(error)}`) : (error as Error);
    }
  }
  if (fault) throw fault;
  return null;
}
