import type { PoolClient } from 'pg';
import { failure } from '../../workflows/model/failures.ts';
import { compareEpoch, type Epoch } from '../../workflows/model/epoch.ts';
import { answerClaim, knowsItsRights } from '../../workflows/model/rights.ts';
import { OBSERVER_LIMIT_MS } from '../probes/observers.ts';
import { within } from '../probes/peer.ts';
import type { Observation } from '../probes/source.ts';
import type { CustomerSettings } from '../settings.ts';
import { readClaims } from '../vault/epochs.ts';
import type { StoreClaim } from './claims.ts';
import { refuseForked } from './fork.ts';
import type { OwnSite } from './site.ts';

/** What a failover and a planned move do alike when they claim an epoch. */

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
  await refuseForked(client, customer);
  return verdict === 'same' ? null : held;
}

/** The peer's database holds this very number of another move: its site has not noted the fork, or this one has not. */
export function refuseForkAt({ id, peer }: CustomerSettings, held: Epoch | null, told: Epoch | null | undefined): void {
  if (!held || !told || answerClaim(held, told) !== 'fork') return;
  throw failure(
    'forked',
    `${id}: ${peer} holds epoch ${told.number} of move ${told.move}, this site of move ${held.move}: neither may follow the other`,
  );
}

/** The highest number that the peer has claimed in the witness; 0 when there is none, or it does not answer. */
export async function claimedInWitness(
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

/** The peer may hold a claim of its own: a site writes its own vault only, so that none in its vault is ours. */
export function refuseNewerPeer(
  { id, peer }: CustomerSettings,
  { claimed, epoch: held }: Observation,
  epoch: Epoch,
): void {
  const newest = Math.max(claimed, held?.number ?? 0);
  if (newest < epoch.number || (claimed < epoch.number && held && compareEpoch(held, epoch) === 'same')) return;
  const kind = newest > epoch.number ? 'epoch-superseded' : 'epoch-taken';
  throw failure(kind, `${id}: ${peer} holds epoch ${newest} of another move, this one offers ${epoch.number}`);
}

/** For people: the stores that hold the claim, and what is alarming about the others. */
export function whereClaimed(
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
