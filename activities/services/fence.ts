import { setTimeout } from 'node:timers/promises';
import { failure } from '../../workflows/model/failures.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import { confirmations, confirmedBy } from '../../workflows/model/rights.ts';
import { lockEpoch } from '../contacts/restore.ts';
import { isServersAnswer, peerQuery, within } from '../probes/peer.ts';
import type { CustomerSettings, SiteSettings } from '../settings.ts';
import { doneBefore, noteEffect } from './effects.ts';
import { askRights, LEASE_MS } from './obeyed.ts';
import { waitSelfFenced } from './self-fenced.ts';
import type { OwnSite } from './site.ts';
import type { PlannedStep } from './planned.ts';

/** A lost site does not answer: this long is waited for it, and the plan's statement decides. */
const FENCE_LIMIT_MS = 5000;

type Closed =
  | { closed: true; by: 'service' | 'database'; how: string }
  | { closed: false; silent: boolean; because: string };

/**
 * Closes the source under the step's epoch and names what confirmed it: its own database, else the statement of
 * isolation that people signed, else that its observers found it dead, as long as its database is as silent as they said.
 * Without any of them nobody may be served here: `isolation-unknown`. With self-fence neither counts before the source must have
 * closed itself.
 */
export async function fenceSite(site: OwnSite, input: PlannedStep, signal?: AbortSignal): Promise<StepResult> {
  const { key } = input;
  const customer = site.customer(key.customer);
  const database = site.database(customer.id);
  const done = await doneBefore(database, input);
  if (done) return done;
  // A step of an old move must not reach the peer at all.
  await database.transaction((client) => lockEpoch(client, database.name, customer.id, key.epoch));
  const close = (): Promise<Closed> => fenceDatabase(site.settings, customer, key, signal);
  const result = await confirmed(site, input, await close(), close, signal);
  return database.transaction(async (client) => {
    await lockEpoch(client, database.name, customer.id, key.epoch);
    return noteEffect(client, input, result);
  });
}

/** What confirms it: a machine's word at once, people's and silence when the source must have closed itself (RIGHTS.md). */
async function confirmed(
  site: OwnSite,
  input: PlannedStep,
  byDatabase: Closed,
  close: () => Promise<Closed>,
  signal: AbortSignal | undefined,
): Promise<StepResult> {
  const { key, plan } = input;
  const { peer } = site.customer(key.customer);
  if (byDatabase.closed)
    return {
      summary: `${peer} is closed: its database holds epoch ${key.epoch.number}${byDatabase.how}`,
      facts: { confirmedBy: byDatabase.by },
    };
  const { because, silent } = byDatabase;
  const by = confirmedBy({ closed: null, silent }, plan.decisions.isolation);
  if (by === null)
    throw failure(
      'isolation-unknown',
      `${peer}: not closed by machine (${because}), and nobody stated how it is isolated`,
    );
  const told = `${peer} ${confirmations[by]}; not closed by machine: ${because}`;
  const { waitsMs, timeoutMs } = plan.decisions.steps.find(({ id }) => id === key.step) ?? {};
  if (waitsMs === undefined) return { summary: told, facts: { confirmedBy: by } };
  let last: Closed = byDatabase;
  const changed = async (): Promise<boolean> => {
    last = await close();
    return last.closed || confirmedBy({ closed: null, silent: last.silent }, plan.decisions.isolation) === null;
  };
  const limits = { waitsMs, timeoutMs: timeoutMs ?? waitsMs };
  const stood = await waitSelfFenced(site, input, limits, changed, signal);
  if (stood === null) return confirmed(site, input, last, close, signal);
  return {
    summary: `${told}; ${stood}: were it only cut off, it would have closed itself`,
    facts: { confirmedBy: by, waitedMs: waitsMs },
  };
}

/** Method `database`: the source's own right to serve, which its service reads at each change; and whether it has. */
async function fenceDatabase(
  settings: SiteSettings,
  customer: CustomerSettings,
  { epoch }: PlannedStep['key'],
  signal: AbortSignal | undefined,
): Promise<Closed> {
  const sql = 'select outcome, newest::text from tandem.fence($1, $2, $3, $4)';
  const values = [customer.id, epoch.number, epoch.site, epoch.move];
  let rows: { outcome: string; newest: string }[];
  try {
    rows = await within(
      FENCE_LIMIT_MS,
      `database of ${customer.peer}`,
      (limit) => peerQuery(customer.peerDatabaseUrl, FENCE_LIMIT_MS, sql, values, limit),
      signal,
    );
  } catch (error) {
    if (signal?.aborted) throw error; // Stopped by the run, not by the peer's silence.
    const because = error instanceof Error ? error.message : String(error);
    return { closed: false, silent: !isServersAnswer(error), because };
  }
  const [answer] = rows;
  if (answer?.outcome === 'refused') {
    throw failure(
      'epoch-superseded',
      `${customer.peer}: its database holds epoch ${answer.newest}, this move offers ${epoch.number}`,
    );
  }
  return answer?.outcome === 'closed'
    ? serviceClosed(settings, customer, signal)
    : { closed: false, silent: false, because: `its database answered ${answer?.outcome ?? 'nothing'}` };
}

/**
 * A service goes on for some seconds with what it has read before: until it says itself that it serves nobody, or until these
 * are over. One that has read the new epoch and serves all the same is not closed.
 */
async function serviceClosed(
  settings: SiteSettings,
  customer: CustomerSettings,
  signal: AbortSignal | undefined,
): Promise<Closed> {
  if (!settings.services.has(customer.peer)) return { closed: true, by: 'database', how: '' };
  const obeyed = await askRights(settings, customer, customer.peer, signal);
  if (!obeyed.rights) {
    await setTimeout(LEASE_MS, undefined, signal && { signal });
    const how = `, and its service had ${LEASE_MS / 1000} s to read it (${obeyed.because})`;
    return { closed: true, by: 'database', how };
  }
  const still = [...obeyed.rights].filter(([, by]) => by === customer.peer).map(([half]) => half);
  if (still.length === 0) return { closed: true, by: 'service', how: `, and ${confirmations.service}` };
  return { closed: false, silent: false, because: `its service says that it still serves ${still.join(' and ')}` };
}
