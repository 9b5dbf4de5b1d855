import type { PoolClient } from 'pg';
import { halfOf, halvesOf } from '../../workflows/model/plan.ts';
import { compareEpoch, type Epoch } from '../../workflows/model/epoch.ts';
import { failure } from '../../workflows/model/failures.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import type { CustomerSettings } from '../settings.ts';
import { claimInStores, noteClaims } from './claims.ts';
import { undoDrain } from './drained.ts';
import { doneBefore, noteEffect } from './effects.ts';
import { newerThanHeld, takeEpoch } from './take-epoch.ts';
import { askRights } from './obeyed.ts';
import { handOverAtPeer, rightAtPeer, type PeerCall } from './peer-functions.ts';
import type { OwnSite } from './site.ts';
import type { PlannedStep } from './planned.ts';

/** The source is asked to open: it is there, or there is nothing to turn back to. */
const silent = {
  kind: 'source-unreachable',
  because: 'its users are its own again, and it cannot be told',
} as const satisfies PeerCall['silent'];

/**
 * Gives the source its users back before anybody of them was served here (DESIGN 4, `turn-back`): claims the epoch after the
 * move's own in every store, so that nothing which the move still had under way can land; says in this site's database, in
 * the same transaction, that the half is the source's; and only then opens the source under that epoch. Safe to repeat: the
 * further epoch is claimed once. `already-served` when this site has the right to serve the half: there is no way back then.
 */
export async function openSource(site: OwnSite, input: PlannedStep, signal?: AbortSignal): Promise<StepResult> {
  if (input.plan.decisions.planned) return undoDrain(site, input, signal);
  const { customer: id } = input.key;
  const customer = site.customer(id);
  const database = site.database(id);
  const done = await doneBefore(database, input);
  if (done) return done;
  const half = halfOf(input.plan.decisions);
  const { epoch, missing, halves } = await giveBack(site, input, signal);
  for (const one of halves) await handOverAtPeer(customer, one, epoch, { signal, silent });
  const told = await obeyedBy(site, customer, halves, signal);
  const not = missing === '' ? '' : `, not yet in ${missing}`;
  return database.transaction((client) =>
    noteEffect(client, input, {
      summary: `${customer.peer} serves users of ${halves.join(' and ')} again under epoch ${epoch.number}${not}${told}`,
      facts: {
        half,
        ...(halves.length > 1 && { halves: halves.join(' ') }),
        epoch: epoch.number,
        ...(missing && { notClaimedIn: missing }),
      },
    }),
  );
}

/** From this transaction on nobody can be given the half here, and nothing stands against its own site. */
async function giveBack(
  site: OwnSite,
  { key, plan }: PlannedStep,
  signal: AbortSignal | undefined,
): Promise<{ epoch: Epoch; missing: string; halves: string[] }> {
  const { customer: id } = key;
  const halves = halvesOf(plan.decisions);
  const own = site.settings.site;
  const epoch: Epoch = { ...key.epoch, number: key.epoch.number + 1 };
  return site.database(id).transaction(async (client) => {
    const held = await newerThanHeld(client, id, epoch);
    await refuseServed(client, { id, halves, own });
    const claims = await claimInStores(site, id, epoch, signal);
    if (held !== null) {
      // Not over the head of another move, which would have been a newer one.
      if (compareEpoch(held, key.epoch) !== 'same') throw superseded(id, held, key.epoch);
      // This move has taken the epoch that is held: what the peer had claimed before was looked at then.
      await takeEpoch(client, id, { own, held, epoch, claimedByPeer: 0 });
    }
    await noteClaims(client, id, epoch, claims);
    // The fence has closed the source for others too, whom the move did not take: nobody else was given them.
    const { rows } = await client.query<{ half: string }>(
      `insert into tandem.serving as s (customer, half, site, epoch)
       select $1, half, $3, $4
         from (select unnest($2::text[]) union select half from tandem.serving where customer = $1 and site = $3) all_of_it (half)
       on conflict (customer, half) do update set site = excluded.site, epoch = excluded.epoch, at = now()
       returning s.half`,
      [id, halves, site.customer(id).peer, epoch.number],
    );
    const missing = claims.filter((c) => !c.claimed).map((c) => c.store);
    return { epoch, missing: missing.join(', '), halves: rows.map((row) => row.half).toSorted() };
  });
}

async function refuseServed(
  client: PoolClient,
  { id, halves, own }: { id: string; halves: readonly string[]; own: string },
): Promise<void> {
  const { rows } = await client.query<{ half: string; epoch: string }>(
    'select half, epoch::text from tandem.serving where customer = $1 and half = any($2) and site = $3 order by half',
    [id, halves, own],
  );
  if (rows[0])
    throw failure(
      'already-served',
      `${id}: ${own} has the right to serve ${rows[0].half} under epoch ${rows[0].epoch}`,
    );
}

const superseded = (id: string, held: Epoch, own: Epoch): Error =>
  failure(
    'epoch-superseded',
    `${id}: the database holds epoch ${held.number} of move ${held.move}, and not epoch ${own.number} of this one`,
  );

/** By the source's own database: whether it serves these users under the epoch that gave them back. */
export async function sourceServes(
  site: OwnSite,
  { key, plan }: PlannedStep,
  signal: AbortSignal,
): Promise<{ seen: boolean; summary: string }> {
  const customer = site.customer(key.customer);
  const rows = [];
  for (const half of halvesOf(plan.decisions))
    rows.push({ half, row: await rightAtPeer(customer, half, { signal, silent: { kind: 'source-unreachable' } }) });
  const told = rows.map(
    ({ half, row }) =>
      `${customer.peer} ${row?.open && row.site === customer.peer ? 'serves' : 'does not serve'} users of ${half} under epoch ${row?.epoch ?? 'none'}`,
  );
  const seen = rows.every(
    ({ row }) => row?.open === true && row.site === customer.peer && row.epoch > key.epoch.number,
  );
  return { seen, summary: told.join('; ') };
}

async function obeyedBy(
  { settings }: OwnSite,
  customer: CustomerSettings,
  halves: readonly string[],
  signal: AbortSignal | undefined,
): Promise<string> {
  if (!settings.services.has(customer.peer)) return '';
  const obeyed = await askRights(settings, customer, customer.peer, signal);
  if (!obeyed.rights) return `; its service reads that by itself (${obeyed.because})`;
  const { rights } = obeyed;
  return halves.every((half) => rights.get(half) === customer.peer)
    ? ', and its service says so'
    : '; its service does not serve them yet';
}
