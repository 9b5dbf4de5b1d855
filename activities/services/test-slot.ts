import type { PoolClient } from 'pg';
import { setTimeout } from 'node:timers/promises';
import type { TestKind } from '../../workflows/model/continuity.ts';
import { failure } from '../../workflows/model/failures.ts';
import { readClosing } from './closed.ts';
import { requireStaying } from './leaving.ts';
import type { OwnSite } from './site.ts';
import type { HeldTest } from '../test-types.ts';

/** The place of the one continuity test of a customer at this site, and what a test yields to. */

const LOOK_EVERY_MS = 2000;
const SEEN_EVERY_MS = 10_000;
/** Far above what a worker takes to start again. */
const DEAD_AFTER = '2 minutes';

interface Slot {
  run: string;
  kind: string;
  began_at: Date;
}

/** The move that holds the customer's slot, but a planned one of this cohort; null when none does. */
export async function liveMove(
  client: Pick<PoolClient, 'query'>,
  customer: string,
  cohort = '',
): Promise<string | null> {
  const { rows } = await client.query<{ move: string; kind: string; phase: string }>(
    `select move, kind, phase from tandem.move
      where customer = $1 and ended_at is null and not (kind <> 'failover' and coalesce(input ->> 'half', '') = $2)`,
    [customer, cohort],
  );
  const [held] = rows;
  return held ? `${held.kind} ${held.move} holds the slot of ${customer}, in phase ${held.phase}` : null;
}

/** The test that lives here; null when there is none, or its run is seen no more. */
export async function livingTest(client: Pick<PoolClient, 'query'>, customer: string): Promise<Slot | null> {
  const { rows } = await client.query<Slot>(
    `select run, kind, began_at from tandem.continuity_test
      where customer = $1 and seen_at > now() - interval '${DEAD_AFTER}'`,
    [customer],
  );
  return rows[0] ?? null;
}

export const runningTest = (customer: string, { run, kind, began_at: began }: Slot): Error =>
  failure('test-running', `${customer}: ${kind} test ${run} is held here since ${began.toISOString()}`);

/** Takes the place; that of a run which is seen no more is taken over. Repeated, it finds its own. */
export async function takePlace(site: OwnSite, { customer, run, kind }: HeldTest & { kind: TestKind }): Promise<void> {
  await site.database(customer).transaction(async (client) => {
    const move = await liveMove(client, customer);
    if (move !== null) throw failure('move-running', `continuity test of ${customer}: ${move}`);
    await requireStaying(client, customer, { table: 'continuity_test', run });
    const { rowCount } = await client.query(
      `insert into tandem.continuity_test as t (customer, run, kind, epoch)
       values ($1, $2, $3, coalesce((select number from tandem.epoch where customer = $1), 0))
       on conflict (customer) do update
         set run = excluded.run, kind = excluded.kind, began_at = now(), seen_at = now(),
             epoch = case when t.run = excluded.run then t.epoch else excluded.epoch end
         where t.run = excluded.run or t.seen_at <= now() - interval '${DEAD_AFTER}'`,
      [customer, run, kind],
    );
    if (rowCount === 1) return;
    const holder = await livingTest(client, customer);
    throw runningTest(customer, holder ?? { run: 'another', kind: 'continuity', began_at: new Date() });
  });
}

export async function leavePlace(site: OwnSite, { customer, run }: HeldTest): Promise<void> {
  await site
    .database(customer)
    .query('delete from tandem.continuity_test where customer = $1 and run = $2', [customer, run]);
}

/** Why a test has to end; null while nothing is in its way. */
export async function whyYield(
  client: Pick<PoolClient, 'query'>,
  { customer, run, cohort }: HeldTest,
): Promise<string | null> {
  const move = await liveMove(client, customer, cohort);
  if (move !== null) return move;
  const closing = await readClosing(client, customer);
  if (closing) return `this site is closed since ${closing.since}: ${closing.because}`;
  const { rows } = await client.query<{ run: string; began: string; newest: string; site: string; kept: boolean }>(
    `select t.run, t.epoch::text as began, e.number::text as newest, e.site,
            exists (select from tandem.identity i
                      join tandem.serving s on s.customer = i.customer and s.half = i.site
                     where i.customer = t.customer and s.site = i.site and s.epoch = e.number) as kept
       from tandem.continuity_test t join tandem.epoch e on e.customer = t.customer where t.customer = $1`,
    [customer],
  );
  const [slot] = rows;
  if (slot && slot.run !== run) return `test ${slot.run} has taken its place, because this one was not seen to live`;
  // The moves of a cohort claim epochs under which this site goes on serving its own.
  if (slot && cohort !== undefined && slot.kept) return null;
  return slot && slot.newest !== slot.began ? `${slot.site} has claimed epoch ${slot.newest}` : null;
}

/** Looks every two seconds, and says that the test lives. A database that is away for a while ends nothing. */
export const guardTest = (site: OwnSite, test: HeldTest, signal: AbortSignal): Promise<{ because: string }> =>
  untilYieldOr<never>(site, test, () => Promise.resolve(null), signal);

/** The same, until `look` has something to say. */
export async function untilYieldOr<T>(
  site: OwnSite,
  test: HeldTest,
  look: (client: PoolClient) => Promise<T | null>,
  signal: AbortSignal,
): Promise<T | { because: string }> {
  let seenAt = -Infinity;
  for (;;) {
    const found = await site
      .database(test.customer)
      .connection(async (client) => {
        if (performance.now() - seenAt >= SEEN_EVERY_MS) {
          await client.query('update tandem.continuity_test set seen_at = now() where customer = $1 and run = $2', [
            test.customer,
            test.run,
          ]);
          seenAt = performance.now();
        }
        const because = await whyYield(client, test);
        return because === null ? look(client) : { because };
      })
      .catch(() => null);
    signal.throwIfAborted();
    if (found !== null) return found;
    await setTimeout(LOOK_EVERY_MS, undefined, { signal });
  }
}
