import type { ClosedMove, FailoverReport } from '../../workflows/model/moves.ts';
import { claimAgain, claimsOf } from '../services/claims.ts';
import type { OwnSite } from '../services/site.ts';
import { appendJournal, findLine, readJournal, type JournalLine } from './chain.ts';
import { checkMove } from './moves.ts';
import { journalKey } from './objects.ts';
import { CLOSE, endedMove, reportPath, trySeal, writeForPeople } from './seal.ts';

/** A vault that does not answer keeps the end of a move no longer than this; what it missed is tried again by the run. */
const SEAL_LIMIT_MS = 20_000;

/**
 * Ends a move: the closing line and the freed slot in one transaction, then a copy for people on disk, then the sealed
 * evidence in this site's vault. While the vault is away the move has ended all the same, and `notSealed` says why it is
 * not there. Safe to repeat at any point; the first report that was written is the one that stands.
 */
export async function closeMove(
  site: OwnSite,
  report: Omit<FailoverReport, 'journalHead'>,
  signal?: AbortSignal,
): Promise<ClosedMove> {
  const { customer, move } = report;
  checkMove(move);
  await claimAgain(site, report, { afterMs: 0, ...(signal && { signal }) });
  const { report: final } = endedMove(report, await endMove(site, report));
  await writeForPeople(site, final, 'the vault has not taken it');
  const limit = AbortSignal.timeout(SEAL_LIMIT_MS);
  const notSealed = await trySeal(site, { customer, move }, signal ? AbortSignal.any([signal, limit]) : limit);
  if (notSealed === null) await writeForPeople(site, final, null); // Also when an earlier attempt had sealed it.
  const vaultKey = journalKey(customer, site.settings.site, { move, what: 'report' });
  const closed = { report: final, path: reportPath(site, move), vaultKey };
  return notSealed === null ? closed : { ...closed, notSealed };
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
