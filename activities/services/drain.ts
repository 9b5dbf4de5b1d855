import { setTimeout } from 'node:timers/promises';
import type { PoolClient } from 'pg';
import { failure } from '../../workflows/model/failures.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import { halvesOf } from '../../workflows/model/plan.ts';
import { servesBy } from '../../workflows/model/rights.ts';
import type { Database } from '../contacts/database.ts';
import { lockEpoch } from '../contacts/restore.ts';
import type { CustomerSettings, SiteSettings } from '../settings.ts';
import { readClosing } from './closed.ts';
import { doneBefore, noteEffect } from './effects.ts';
import { askRights, LEASE_MS } from './obeyed.ts';
import { readRights, tellRight } from './own-rights.ts';
import type { PlannedStep } from './planned.ts';
import type { OwnSite } from './site.ts';

/** Rows of `tandem.drained`: between the drain of a half and its hand-over nobody serves it, and it stays this site's to protect. */

/** How often is looked whether what was being written is written. */
const LOOK_MS = 50;

/**
 * Ends the sessions of the halves that move: from one transaction on nobody is served by this site, and nobody elsewhere. Done when
 * the site's own service says so, or its lease is over, and all that was being written then is written: a snapshot that begins
 * later misses nothing. What it leaves when its worker dies is undone by `open-site`, by the end of its move, and by every
 * newer epoch.
 */
export async function drainSessions(site: OwnSite, input: PlannedStep, signal?: AbortSignal): Promise<StepResult> {
  const { customer: id, epoch } = input.key;
  const halves = halvesOf(input.plan.decisions);
  const told = halves.join(' and ');
  const database = site.database(id);
  const done = await doneBefore(database, input);
  if (done) return done;
  await beginDrain(site, input, halves);
  const how = await serviceLetsGo(site.settings, site.customer(id), halves, signal);
  await writesEnd(database, signal);
  return database.transaction(async (client) => {
    await lockEpoch(client, database.name, id, epoch);
    const { rows } = await client.query<{ took: number }>(
      `update tandem.drained set obeyed_at = coalesce(obeyed_at, clock_timestamp())
        where customer = $1 and half = any($2) and epoch = $3 and move = $4
        returning (extract(epoch from obeyed_at - at) * 1000)::int as took`,
      [id, halves, epoch.number, epoch.move],
    );
    if (rows.length !== halves.length)
      throw failure('not-drained', `${id}: the drain of ${told} was undone before it had come to its end`);
    return noteEffect(client, input, {
      summary: `nobody serves the users of ${told}: ${how}`,
      facts: { half: told, epoch: epoch.number, tookMs: Math.max(...rows.map(({ took }) => took)) },
    });
  });
}

async function beginDrain(site: OwnSite, { key }: PlannedStep, halves: readonly string[]): Promise<void> {
  const { customer: id, epoch } = key;
  const database = site.database(id);
  await database.transaction(async (client) => {
    await lockEpoch(client, database.name, id, epoch);
    await refuseEnded(client, epoch.move);
    const rights = await readRights(client, id, halves, 'for share');
    const gone = halves.find((half) => !servesBy(rights.get(half) ?? null, site.settings.site, epoch.number));
    if (gone !== undefined) throw failure('already-served', `${id}: ${tellRight(gone, rights.get(gone))}`);
    const closing = await readClosing(client, id);
    if (closing) throw failure('site-closed', `${id}: this site is closed since ${closing.since}: ${closing.because}`);
    await client.query(
      `insert into tandem.drained as d (customer, half, epoch, move)
         select $1, half, $3, $4 from unnest($2::text[]) half
       on conflict (customer, half) do update
         set epoch = excluded.epoch, move = excluded.move, at = excluded.at, obeyed_at = null
         where d.epoch < excluded.epoch`,
      [id, halves, epoch.number, epoch.move],
    );
  });
}

/** An attempt that wakes up after its move has ended, or was turned back, must not end sessions for nothing. Locks the move. */
async function refuseEnded(client: PoolClient, move: string): Promise<void> {
  const { rows } = await client.query<{ ended: boolean; back: boolean }>(
    `select ended_at is not null as ended,
            exists (select from tandem.journal j where j.move = m.move and j.kind = 'step' and j.key like 'effect/%'
                                                   and j.body::jsonb->>'act' = 'open-site') as back
       from tandem.move m where move = $1 for update of m`,
    [move],
  );
  const [row] = rows;
  if (!row || row.ended) throw failure('move-ended', `move ${move}: is over, and drains nobody`);
  if (row.back) throw failure('not-drained', `move ${move}: was turned back, and drains nobody`);
}

/** It goes on for some seconds with what it has read before: until it says itself that it serves nobody, or until these are over. */
async function serviceLetsGo(
  settings: SiteSettings,
  customer: CustomerSettings,
  halves: readonly string[],
  signal: AbortSignal | undefined,
): Promise<string> {
  const { site } = settings;
  if (!settings.services.has(site)) return 'its database says so';
  const obeyed = await askRights(settings, customer, site, signal);
  if (!obeyed.rights) {
    await setTimeout(LEASE_MS, undefined, signal && { signal });
    return `its service had ${LEASE_MS / 1000} s to read it (${obeyed.because})`;
  }
  const { rights } = obeyed;
  const half = halves.find((one) => rights.get(one) === site);
  if (half !== undefined)
    throw failure(
      'service-disobeys',
      `${customer.id}: the service of ${site} still serves ${half}, which its database has drained`,
    );
  return 'its service says so';
}

/**
 * Until every transaction that was writing when the service let go has come to its end. Any of this server is waited for, whoever
 * writes, so that it has a limit: a statement of the service itself is over long before that. Past it the step is tried again.
 */
async function writesEnd(database: Database, signal: AbortSignal | undefined): Promise<void> {
  const [mark] = await database.query<{ id: string }>('select pg_current_xact_id()::text as id');
  for (const end = performance.now() + LEASE_MS; performance.now() < end;) {
    signal?.throwIfAborted();
    const [now] = await database.query<{ ended: boolean }>(
      'select pg_snapshot_xmin(pg_current_snapshot()) > $1::xid8 as ended',
      [mark?.id],
    );
    if (now?.ended === true) return;
    await setTimeout(LOOK_MS, undefined, signal && { signal });
  }
  // What it writes might be in no copy: nobody is handed over before it has ended.
  throw failure(
    'not-drained-yet',
    `${database.name}: a transaction from before the drain writes for over ${LEASE_MS / 1000} s`,
  );
}
