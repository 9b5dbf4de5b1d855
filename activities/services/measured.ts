import type { PoolClient } from 'pg';
import { MEASURED, timeKey, type StepTime } from '../../workflows/model/forecast.ts';
import type { FailoverReport } from '../../workflows/model/moves.ts';
import type { Plan } from '../../workflows/model/plan.ts';
import type { JournalLine } from '../journal/chain.ts';
import { listMoves, readSealed, type JournalShelf } from '../journal/read.ts';
import { within } from '../probes/peer.ts';
import type { OwnSite } from './site.ts';

/** A forecast is worth no more: without the times of the vault it is made of those that are usual. */
const VAULT_LIMIT_MS = 2000;

type Lines = Pick<JournalLine, 'kind' | 'body'>[];

/**
 * What the steps of this site's moves of a customer took, newest first. Its database knows them; where it does not, because
 * it is a new one, the journals in this site's vault do. Never fails for want of them.
 */
export async function measuredTimes(
  site: OwnSite,
  customer: string,
  inDatabase: Promise<StepTime[]>,
  signal?: AbortSignal,
): Promise<StepTime[]> {
  const known = await inDatabase;
  if (known.length > 0) return known;
  const { settings, vault } = site;
  const { site: own, publicKeys } = settings;
  const read = (limit: AbortSignal): Promise<StepTime[]> =>
    timesInVault({ vault, customer, site: own, publicKeys, signal: limit });
  try {
    return await within(VAULT_LIMIT_MS, `vault of ${own}`, read, signal);
  } catch (error) {
    if (signal?.aborted) throw error;
    return []; // The forecast says that it is made of usual times.
  }
}

/** Those that this site's database knows. */
export async function timesInDatabase(client: PoolClient, customer: string): Promise<StepTime[]> {
  const { rows } = await client.query<{ planned: string | null; closed: string }>(
    `select c.body as closed,
            (select p.body from tandem.journal p where p.move = c.move and p.kind = 'planned' order by p.seq desc limit 1) as planned
       from tandem.journal c where c.customer = $1 and c.kind = 'closed' order by c.at desc limit ${MEASURED}`,
    [customer],
  );
  return rows.flatMap(({ planned, closed }) =>
    planned === null
      ? []
      : timesOf(JSON.parse(planned) as Plan, (JSON.parse(closed) as { report: FailoverReport }).report),
  );
}

async function timesInVault(shelf: JournalShelf): Promise<StepTime[]> {
  const times: { at: string; of: StepTime[] }[] = [];
  const moves = (await listMoves(shelf)).filter((m) => m.journal).slice(-MEASURED);
  for (const held of moves) {
    const { journal } = await readSealed(shelf, { ...held, segments: [], report: false });
    const lines: Lines = journal?.document.lines ?? [];
    const planned = lines.findLast((l) => l.kind === 'planned')?.body as unknown as Plan | undefined;
    const closed = lines.findLast((l) => l.kind === 'closed')?.body as { report: FailoverReport } | undefined;
    if (planned && closed) times.push({ at: closed.report.endedAt, of: timesOf(planned, closed.report) });
  }
  return times.toSorted((a, b) => b.at.localeCompare(a.at)).flatMap(({ of }) => of);
}

/** Only steps that were done, by a round whose time is known: what was resumed, skipped or done by hand tells nothing. */
function timesOf({ decisions }: Plan, report: FailoverReport): StepTime[] {
  return report.steps.flatMap(({ id, state, tookMs }) => {
    const step = decisions.steps.find((s) => s.id === id);
    if (!step || state !== 'done' || tookMs === undefined) return [];
    return [{ key: timeKey(step), ms: tookMs, users: decisions.users }];
  });
}
