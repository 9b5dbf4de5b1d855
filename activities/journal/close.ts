import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { failure } from '../../workflows/model/failures.ts';
import type { ClosedMove, FailoverReport } from '../../workflows/model/moves.ts';
import { canonicalJson } from '../../workflows/model/plan.ts';
import { claimAgain, claimsOf } from '../services/claims.ts';
import type { OwnSite } from '../services/site.ts';
import { oldestValid, seal, type Purpose } from '../vault/signed.ts';
import { appendJournal, chainFault, findLine, readJournal, type JournalLine } from './chain.ts';
import { mirrorJournal } from './mirror.ts';
import { checkMove } from './moves.ts';
import { EVIDENCE_MS, journalKey, type JournalExport } from './objects.ts';

/** The last line of every journal. Its body is the report, so that the chain vouches for it. */
const CLOSE = 'close';

/**
 * Ends a move: the closing line and the freed slot in one transaction, then the sealed evidence in this site's vault, every line of it,
 * then a copy for people on disk. Safe to repeat at any point; the first report that was written is the one that stands.
 */
export async function closeMove(
  site: OwnSite,
  report: Omit<FailoverReport, 'journalHead'>,
  signal?: AbortSignal,
): Promise<ClosedMove> {
  const { customer, move } = report;
  checkMove(move);
  await claimAgain(site, report, { afterMs: 0, ...(signal && { signal }) });
  const lines = await endMove(site, report);
  const fault = chainFault(report, lines);
  const last = lines.at(-1);
  if (fault !== null || last?.key !== CLOSE) {
    throw failure('journal-broken', `journal of move ${move}: ${fault ?? 'its last line is not the closing one'}`);
  }
  const final = { ...(last.body['report'] as Omit<FailoverReport, 'journalHead'>), journalHead: last.hash };
  const own = site.settings.site;
  const reportKey = journalKey(customer, own, { move, what: 'report' });
  const journal: JournalExport = { format: 1, customer, move, site: own, lines, head: last.hash };
  const lockUntil = new Date(Date.parse(final.endedAt) + EVIDENCE_MS);
  await mirrorJournal(site, report, signal);
  await putSealed(site, 'journal', journalKey(customer, own, { move, what: 'journal' }), journal, lockUntil, signal);
  await putSealed(site, 'report', reportKey, final, lockUntil, signal);
  const path = join(site.settings.reportsFolder, `${move}.json`);
  await writeForPeople(path, final);
  return { report: final, path, vaultKey: reportKey };
}

async function endMove(site: OwnSite, report: Omit<FailoverReport, 'journalHead'>): Promise<JournalLine[]> {
  const { customer, move, outcome, endedAt } = report;
  return site.database(customer).transaction(async (client) => {
    if (!(await findLine(client, move, CLOSE))) {
      const claims = await claimsOf(client, move);
      const told = claims.length > 0 ? { ...report, claims } : report;
      await appendJournal(client, {
        customer,
        move,
        key: CLOSE,
        kind: 'closed',
        at: endedAt,
        body: { outcome, report: told },
      });
      await client.query('update tandem.move set phase = $2, ended_at = $3 where move = $1', [move, outcome, endedAt]);
    }
    return readJournal(client, move);
  });
}

/** Puts a signed document under a key once. What stands there already must say the same, under whichever valid signature. */
async function putSealed(
  site: OwnSite,
  purpose: Purpose,
  key: string,
  document: unknown,
  lockUntil: Date,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { settings, vault } = site;
  const options = signal ? { signal } : {};
  const body = seal(purpose, settings.site, settings.signingKey, document);
  if ((await vault.put(key, body, { lockUntil, ...options })) !== 'taken') return;
  const there = oldestValid<unknown>(purpose, settings.publicKeys, await vault.versions(key, options), key);
  if (canonicalJson(there?.document) !== canonicalJson(document)) {
    throw failure('vault-refused', `vault of ${settings.site}, ${key}: another ${purpose} stands there`);
  }
}

/** Whole or not at all: a reader never finds half a report. */
async function writeForPeople(path: string, report: FailoverReport): Promise<void> {
  const draft = `${path}.${process.pid}.tmp`;
  try {
    await mkdir(join(path, '..'), { recursive: true });
    await writeFile(draft, `${JSON.stringify(report, null, 2)}\n`);
    await rename(draft, path);
  } catch (error) {
    throw failure('report-unwritable', `report ${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
