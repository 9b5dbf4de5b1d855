import type { PoolClient } from 'pg';
import { failure } from '../../workflows/model/failures.ts';
import { compareEpoch, type Epoch } from '../../workflows/model/epoch.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import type { Isolation } from '../../workflows/model/plan.ts';
import { observeSource, sawClosed, type Observation } from '../probes/source.ts';
import type { CustomerSettings } from '../settings.ts';
import { claimEpoch } from '../vault/epochs.ts';
import { doneBefore, noteEffect } from './effects.ts';
import type { OwnSite } from './site.ts';
import type { PlannedStep } from './planned.ts';

/**
 * Claims the plan's epoch in this site's vault, then in its database. The world is looked at once more before: what
 * people signed must still hold. After it every store here refuses what an older move tries to do.
 */
export async function advanceEpoch(site: OwnSite, input: PlannedStep, signal?: AbortSignal): Promise<StepResult> {
  const { key, plan } = input;
  const { customer: id, epoch } = key;
  const customer = site.customer(id);
  const database = site.database(id);
  const done = await doneBefore(database, input);
  if (done) return done;
  const seen = await observeSource(site.settings, customer, signal);
  const worse = whyWorse(plan.decisions.isolation, seen.observers);
  if (worse !== null) throw failure('world-worse', `${id}: ${customer.peer} ${worse}; nothing has been changed`);
  refuseNewerSource(customer, seen, epoch);
  // Looked at before the vault is written, so that a stale run does not even burn a number; judged again under the lock.
  await database.transaction((client) => newerThanHeld(client, id, epoch));
  const holder = await claimEpoch(site.vault, site.settings, id, epoch, signal);
  if (holder)
    throw failure('epoch-taken', `${id}: epoch ${epoch.number} is claimed by move ${holder.move} of ${holder.site}`);
  return database.transaction(async (client) => {
    const held = await newerThanHeld(client, id, epoch);
    const restamped = held === null ? 0 : await takeEpoch(client, id, held, epoch, site.settings.site);
    return noteEffect(client, input, {
      summary: `epoch ${epoch.number} is claimed; ${customer.peer}: ${told(seen.observers)}`,
      facts: { epoch: epoch.number, before: held?.number ?? epoch.number, keptOpen: restamped },
    });
  });
}

/** Why what was signed no longer holds, about the source; null when it does. */
function whyWorse(signed: Isolation, now: Isolation['observers']): string | null {
  if (signed.verdict !== 'serving' && now.some((o) => o.saw === 'serving')) {
    return `serves now: seen by its ${now
      .filter((o) => o.saw === 'serving')
      .map((o) => o.name)
      .join(', ')}`;
  }
  if (signed.statement === null && sawClosed(signed.observers) && !sawClosed(now)) {
    return 'was seen closed when the plan was signed, and cannot be seen now';
  }
  return null;
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
async function newerThanHeld(client: PoolClient, customer: string, epoch: Epoch): Promise<Epoch | null> {
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

/**
 * Takes the epoch; what this site served under the epoch before stays open, in the same transaction. What was closed
 * stays closed: a half that another move took away must not come back by a change of number.
 */
async function takeEpoch(
  client: PoolClient,
  customer: string,
  held: Epoch,
  epoch: Epoch,
  own: string,
): Promise<number> {
  await client.query('update tandem.epoch set number = $2, site = $3, move = $4, at = now() where customer = $1', [
    customer,
    epoch.number,
    epoch.site,
    epoch.move,
  ]);
  const { rowCount } = await client.query(
    'update tandem.serving set epoch = $3, at = now() where customer = $1 and site = $2 and epoch = $4',
    [customer, own, epoch.number, held.number],
  );
  return rowCount ?? 0;
}
