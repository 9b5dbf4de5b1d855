import type { KeyObject } from 'node:crypto';
import type { FailoverReport } from '../../workflows/model/moves.ts';
import { canonicalJson } from '../../workflows/model/plan.ts';
import { unseal, type Purpose, type Signed } from '../vault/signed.ts';
import { chainFault, type JournalLine } from './chain.ts';
import { approvalsSeen, effectsSeen, ledgersSeen, operatorsSeen, plansSeen } from './judge.ts';
import { Mismatch } from './mismatch.ts';
import type { SealedJournal } from './read.ts';

/** The evidence of one move as a file: all that its site has signed, and by which keys. */
export interface Evidence extends SealedJournal {
  format: 1;
  customer: string;
  move: string;
  /** Whose journal it is. */
  site: string;
  /** Whose vault it was read from. */
  readFrom: string;
  exportedAt: string;
  /** Fingerprints of the sites' public keys, as the exporter knew them: for people, who compare; none is trusted. */
  publicKeys: Record<string, string>;
}

/** One check: what was looked at, whether it holds, and what was seen. */
export interface Verdict {
  check: string;
  ok: boolean;
  seen: string;
}

/** What was seen when it holds; throws a Mismatch, or anything at all when what is read has not the shape it should. */
type Look = () => string;

/**
 * Judges evidence by public keys that are known from elsewhere: nothing in it is taken at its word. Needs neither network
 * nor database. Every check is made, whatever the others said; none of them throws.
 */
export function judgeEvidence(
  evidence: Evidence,
  publicKeys: ReadonlyMap<string, KeyObject>,
  fingerprint: (key: KeyObject) => string,
): Verdict[] {
  const read = (): JournalLine[] => linesOf(evidence);
  const looks: [string, Look][] = [
    ['keys', () => keysSeen(evidence, publicKeys, fingerprint)],
    ['signatures', () => signaturesSeen(evidence, publicKeys)],
    ['chain', () => chainSeen(evidence, read())],
    ['report', () => reportSeen(evidence, read())],
    ['plan', () => plansSeen(evidence, read())],
    ['operators', () => operatorsSeen(evidence, read())],
    ['approvals', () => approvalsSeen(read())],
    ['effects', () => effectsSeen(read())],
    ['ledger', () => ledgersSeen(evidence, read())],
  ];
  return looks.map(([check, look]) => {
    try {
      return { check, ok: true, seen: look() };
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      return { check, ok: false, seen: error instanceof Mismatch ? text : `cannot be read: ${text}` };
    }
  });
}

/** The segments, joined; without any, the closing document's lines. */
function linesOf({ segments, journal }: Evidence): JournalLine[] {
  return segments.length > 0 ? segments.flatMap((s) => s.document.lines) : (journal?.document.lines ?? []);
}

function keysSeen(
  { site, publicKeys }: Evidence,
  known: ReadonlyMap<string, KeyObject>,
  fingerprint: (key: KeyObject) => string,
): string {
  const key = known.get(site);
  if (!key) throw new Mismatch(`no public key of ${site} is known; known: ${[...known.keys()].join(', ') || 'none'}`);
  for (const [name, told] of Object.entries(publicKeys)) {
    const trusted = known.get(name);
    if (trusted && fingerprint(trusted) !== told)
      throw new Mismatch(`${name} signs with ${fingerprint(trusted)}; the evidence names ${told}`);
  }
  return `${site} signs with ${fingerprint(key)}`;
}

function signaturesSeen(evidence: Evidence, known: ReadonlyMap<string, KeyObject>): string {
  const { site, segments, journal, report, ledger = [] } = evidence;
  const own = new Map([...known].filter(([name]) => name === site));
  const hold = (purpose: Purpose, sealed: Signed<unknown>, what: string): void =>
    void unseal(purpose, own, Buffer.from(JSON.stringify(sealed)), what);
  if (segments.length === 0 && !journal)
    throw new Mismatch('nothing is signed: neither a segment nor a journal is there');
  const said = (work: () => void): void => {
    try {
      work();
    } catch (error) {
      throw new Mismatch(error instanceof Error ? error.message : String(error));
    }
  };
  for (const [i, segment] of segments.entries()) said(() => hold('journal', segment, `segment ${i + 1}`));
  if (journal) said(() => hold('journal', journal, 'the journal'));
  if (report) said(() => hold('report', report, 'the report'));
  for (const part of ledger) said(() => hold('ledger', part, `part ${part.document.part} of the ledger`));
  const parts = [
    `${segments.length} segments`,
    ...(journal ? ['the journal'] : []),
    ...(report ? ['the report'] : []),
    ...(ledger.length > 0 ? ['the ledger'] : []),
  ];
  return `${parts.join(', ')}: every signature of ${site} holds`;
}

/** From the first line to the closing one: what ends earlier may have been cut. */
function chainSeen({ customer, move, site, segments, journal }: Evidence, lines: JournalLine[]): string {
  for (const { document } of [...segments, ...(journal ? [journal] : [])]) {
    if (document.customer !== customer || document.move !== move || document.site !== site)
      throw new Mismatch(`a part is of move ${document.move} of ${document.customer} at ${document.site}`);
  }
  const fault = chainFault({ customer, move }, lines);
  if (fault !== null) throw new Mismatch(fault);
  let head: string | null = null;
  for (const { document } of segments) {
    if (document.previous !== head) throw new Mismatch(`a segment does not follow from the one before it`);
    head = document.head;
    if (document.lines.at(-1)?.hash !== head) throw new Mismatch(`a segment's head is not its last line`);
  }
  if (journal && canonicalJson(journal.document.lines) !== canonicalJson(lines))
    throw new Mismatch(
      `the segments end at line ${lines.length}; the journal has ${journal.document.lines.length} lines, or other ones`,
    );
  const last = lines.at(-1);
  if (last?.kind !== 'closed')
    throw new Mismatch(`line ${lines.length} is not the closing one: the move had not ended, or the end is missing`);
  return `${lines.length} lines, whole from the first to the closing one, head ${last.hash}`;
}

function reportSeen({ customer, move, report }: Evidence, lines: JournalLine[]): string {
  const last = lines.at(-1);
  if (!report) throw new Mismatch('there is none');
  const { document } = report;
  if (document.move !== move || document.customer !== customer)
    throw new Mismatch(`is of move ${document.move} of ${document.customer}, not of ${move} of ${customer}`);
  const closing = last?.kind === 'closed' ? (last.body['report'] as Omit<FailoverReport, 'journalHead'>) : null;
  if (!closing) throw new Mismatch('the journal has no closing line to compare it with');
  if (canonicalJson({ ...closing, journalHead: last?.hash }) !== canonicalJson(document))
    throw new Mismatch('is not what the closing line says');
  return `${document.outcome}; equals the closing line`;
}
