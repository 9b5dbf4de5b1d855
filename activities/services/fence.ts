import { failure } from '../../workflows/model/failures.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import { lockEpoch } from '../contacts/restore.ts';
import { isServersAnswer, peerQuery, within } from '../probes/peer.ts';
import type { CustomerSettings } from '../settings.ts';
import { doneBefore, noteEffect } from './effects.ts';
import type { OwnSite } from './site.ts';
import type { PlannedStep } from './planned.ts';

/** A lost site does not answer: this long is waited for it, and the plan's statement decides. */
const FENCE_LIMIT_MS = 5000;

type Closed = { closed: true } | { closed: false; silent: boolean; because: string };

/**
 * Closes the source under the step's epoch and names what confirmed it: its own database, else the statement of
 * isolation that people signed, else that its observers found it dead, as long as its database is as silent as they said.
 * Without any of them nobody may be served here: `isolation-unknown`.
 */
export async function fenceSite(site: OwnSite, input: PlannedStep, signal?: AbortSignal): Promise<StepResult> {
  const { key, plan } = input;
  const customer = site.customer(key.customer);
  const database = site.database(customer.id);
  const done = await doneBefore(database, input);
  if (done) return done;
  // A step of an old move must not reach the peer at all.
  await database.transaction((client) => lockEpoch(client, database.name, customer.id, key.epoch));
  const byDatabase = await fenceDatabase(customer, key, signal);
  const { statement, verdict } = plan.decisions.isolation;
  const dead = !byDatabase.closed && byDatabase.silent && verdict === 'dead';
  if (!byDatabase.closed && statement === null && !dead) {
    throw failure(
      'isolation-unknown',
      `${customer.peer}: not closed by machine (${byDatabase.because}), and nobody stated how it is isolated`,
    );
  }
  const by = statement === null ? 'observers' : 'statement';
  const told = {
    observers: 'was found dead by its observers',
    statement: 'is isolated by the statement that was signed',
  };
  const result: StepResult = byDatabase.closed
    ? {
        summary: `${customer.peer} is closed: its database holds epoch ${key.epoch.number}`,
        facts: { confirmedBy: 'database' },
      }
    : {
        summary: `${customer.peer} ${told[by]}; not closed by machine: ${byDatabase.because}`,
        facts: { confirmedBy: by },
      };
  return database.transaction(async (client) => {
    await lockEpoch(client, database.name, customer.id, key.epoch);
    return noteEffect(client, input, result);
  });
}

/** Method `database`: the source's own right to serve, which its service reads at each change. */
async function fenceDatabase(
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
    ? { closed: true }
    : { closed: false, silent: false, because: `its database answered ${answer?.outcome ?? 'nothing'}` };
}
