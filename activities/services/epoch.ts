import type { PoolClient } from 'pg';
import { failure } from '../../workflows/model/failures.ts';
import { compareEpoch, type Epoch } from '../../workflows/model/epoch.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import type { Isolation } from '../../workflows/model/plan.ts';
import { knowsItsRights } from '../../workflows/model/rights.ts';
import { whyWorse } from '../../workflows/model/verdict.ts';
import { within } from '../probes/peer.ts';
import { OBSERVER_LIMIT_MS } from '../probes/observers.ts';
import { observeSource, type Observation } from '../probes/source.ts';
import type { CustomerSettings } from '../settings.ts';
import { readClaims } from '../vault/epochs.ts';
import { claimInStores, noteClaims, type StoreClaim } from './claims.ts';
import { doneBefore, noteEffect } from './effects.ts';
import type { OwnSite } from './site.ts';
import type { PlannedStep } from './planned.ts';

/**
 * Claims the plan's epoch in every store that can be reached: this site's vault, the witness and the customer's zone, then
 * its database, which is locked meanwhile. The world is looked at once more before: what people signed must still hold.
 * After it every store here refuses what an older move tries to do. A store that is away stops nothing: it is told, and the
 * claim is written there later.
 */
export async function advanceEpoch(site: OwnSite, input: PlannedStep, signal?: AbortSignal): Promise<StepResult> {
  const { key, plan } = input;
  const { customer: id, epoch } = key;
  const customer = site.customer(id);
  const database = site.database(id);
  const done = await doneBefore(database, input);
  if (done) return done;
  const [seen, inWitness] = await Promise.all([
    observeSource(site.settings, customer, signal),
    claimedInWitness(site, customer, signal),
  ]);
  const worse = whyWorse(plan.decisions.isolation, seen.observers);
  if (worse !== null) throw failure('world-worse', `${id}: ${customer.peer} ${worse}; nothing has been changed`);
  refuseNewerSource(customer, seen, epoch);
  const byPeer = seen.epoch?.site === customer.peer ? seen.epoch.number : 0;
  const claimedByPeer = Math.max(byPeer, seen.claimed, inWitness);
  return database.transaction(async (client) => {
    // A stale run does not even burn a number; and of one site's moves only one at a time claims.
    const held = await newerThanHeld(client, id, epoch);
    const claims = await claimInStores(site, id, epoch, signal);
    const restamped =
      held === null ? 0 : await takeEpoch(client, id, { own: site.settings.site, held, epoch, claimedByPeer });
    await noteClaims(client, id, epoch, claims);
    const where = whereClaimed(claims, epoch);
    return noteEffect(client, input, {
      summary: `epoch ${epoch.number} is claimed in ${where.claimedIn}${where.not}; ${customer.peer}: ${told(seen.observers)}`,
      facts: {
        epoch: epoch.number,
        before: held?.number ?? epoch.number,
        keptOpen: restamped,
        claimedIn: where.claimedIn,
        ...(where.missing && { notClaimedIn: where.missing }),
      },
      ...(where.alarms.length > 0 && { alarms: where.alarms }),
    });
  });
}

function whereClaimed(
  claims: readonly StoreClaim[],
  { number }: Epoch,
): { claimedIn: string; missing: string; not: string; alarms: string[] } {
  const missing = claims.filter((c) => !c.claimed);
  const names = missing.map((c) => c.store).join(', ');
  return {
    claimedIn: ['database', ...claims.filter((c) => c.claimed).map((c) => c.store)].join(', '),
    missing: names,
    not: names && `, not yet in ${names}`,
    alarms: missing.map(
      ({ store, because }) =>
        `the ${store} does not hold the claim of epoch ${number} yet (${because}); it is tried again with every line of the journal`,
    ),
  };
}

/** The source may hold a claim of its own: a site writes its own vault only, so that none in its vault is ours. */
function refuseNewerSource({ id, peer }: CustomerSettings, { claimed, epoch: held }: Observation, epoch: Epoch): void {
  const newest = Math.max(claimed, held?.number ?? 0);
  if (newest < epoch.number || (claimed < epoch.number && held && compareEpoch(held, epoch) === 'same')) return;
  const kind = newest > epoch.number ? 'epoch-superseded' : 'epoch-taken';
  throw failure(kind, `${id}: ${peer} holds epoch ${newest} of another move, this one offers ${epoch.number}`);
}

const told = (observers: Isolation['observers']): string => observers.map((o) => `${o.name} ${o.saw}`).join(', ');

/** The epoch held here, locked, when ours may follow it; null when it is ours already. */
export async function newerThanHeld(client: PoolClient, customer: string, epoch: Epoch): Promise<Epoch | null> {
  const { rows } = await client.query<{ number: string; site: string; move: string }>(
    'select number, site, move from tandem.epoch where customer = $1 for update',
    [customer],
  );
  const [row] = rows;
  if (!row) throw failure('database-wrong', `${customer}: the database of this site holds no epoch`);
  const held: Epoch = { number: Number(row.number), site: row.site, move: row.move };
  const verdict = compareEpoch(held, epoch);
  if (verdict === 'refused') {
    throw failure(
      'epoch-superseded',
      `${customer}: the database holds epoch ${held.number} of move ${held.move}, this move offers ${epoch.number}`,
    );
  }
  return verdict === 'same' ? null : held;
}

/** The highest number that the peer has claimed in the witness; 0 when there is none, or it does not answer. */
async function claimedInWitness(
  { witness, settings }: OwnSite,
  { id, peer }: CustomerSettings,
  signal: AbortSignal | undefined,
): Promise<number> {
  const key = settings.publicKeys.get(peer);
  if (!witness || !key) return 0;
  const publicKeys = new Map([[peer, key]]);
  try {
    const read = (limit: AbortSignal) => readClaims(witness, id, { publicKeys, signal: limit });
    return (await within(OBSERVER_LIMIT_MS, 'claims in the witness', read, signal)).newest?.number ?? 0;
  } catch {
    signal?.throwIfAborted();
    return 0; // It is claimed in next, and told there.
  }
}

/**
 * Takes the epoch; what this site served under the epoch before stays open, in the same transaction. What was closed
 * stays closed: a half that another move took away must not come back by a change of number, nor because the database was put
 * back to a time before that.
 */
export async function takeEpoch(
  client: PoolClient,
  id: string,
  { own, held, epoch, claimedByPeer }: { own: string; held: Epoch; epoch: Epoch; claimedByPeer: number },
): Promise<number> {
  await client.query('update tandem.epoch set number = $2, site = $3, move = $4, at = now() where customer = $1', [
    id,
    epoch.number,
    epoch.site,
    epoch.move,
  ]);
  if (!knowsItsRights(held.number, claimedByPeer)) return 0;
  const { rowCount } = await client.query(
    'update tandem.serving set epoch = $3 where customer = $1 and site = $2 and epoch = $4',
    [id, own, epoch.number, held.number],
  );
  return rowCount ?? 0;
}
