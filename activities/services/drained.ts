import type { PoolClient } from 'pg';
import { failure } from '../../workflows/model/failures.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import { halfOf } from '../../workflows/model/plan.ts';
import type { Database } from '../contacts/database.ts';
import { noteEffect, readEffect } from './effects.ts';
import { FORK_DRAIN, refuseForked } from './fork.ts';
import { askRights } from './obeyed.ts';
import type { PlannedStep } from './planned.ts';
import type { OwnSite } from './site.ts';

/** What becomes of a half that was drained (`tandem.drained`) and not handed over. */

/**
 * Turns a planned move back before its half was handed over: this site serves it again, from one transaction on. It takes no
 * further epoch, as a failover's turn-back must: this site never lost the right, nobody else has to be told, and the one thing of
 * the move that could still take it, the hand-over, needs the drain that is gone, in this very database. `already-served` once
 * the half was handed over: there is no way back then but another move.
 */
export async function undoDrain(site: OwnSite, input: PlannedStep, signal?: AbortSignal): Promise<StepResult> {
  const { customer: id, epoch } = input.key;
  const half = halfOf(input.plan.decisions);
  const own = site.settings.site;
  const database = site.database(id);
  const result = await database.transaction(async (client) => {
    await lockHeld(client, id, input);
    await refuseForked(client, id);
    const done = await readEffect(client, input.key);
    if (done) return done;
    await client.query('select from tandem.move where move = $1 for update', [epoch.move]);
    const { rows } = await client.query<{ site: string; epoch: string }>(
      'select site, epoch::text from tandem.serving where customer = $1 and half = $2 for share',
      [id, half],
    );
    if (rows[0]?.site !== own)
      throw failure(
        'already-served',
        `${id}: ${half} is ${rows[0]?.site ?? 'nobody'}'s to serve under epoch ${rows[0]?.epoch}`,
      );
    const { rowCount } = await client.query(
      'delete from tandem.drained where customer = $1 and half = $2 and epoch = $3 and move = $4',
      [id, half, epoch.number, epoch.move],
    );
    return noteEffect(client, input, {
      summary: `${own} serves the users of ${half} ${rowCount === 0 ? 'as before: it had not drained them' : 'again'}, under epoch ${rows[0].epoch}`,
      facts: { half, epoch: Number(rows[0].epoch), drained: rowCount !== 0 },
    });
  });
  await askRights(site.settings, site.customer(id), own, signal); // It reads that by itself within seconds; asked, at once.
  return result;
}

/** Its own epoch, or the one before it when that never came into this database; a newer one has ended the move. */
async function lockHeld(client: PoolClient, customer: string, { key: { epoch } }: PlannedStep): Promise<void> {
  const { rows } = await client.query<{ number: string; move: string }>(
    'select number::text, move from tandem.epoch where customer = $1 for share',
    [customer],
  );
  const [held] = rows;
  if (held && (held.move === epoch.move || Number(held.number) < epoch.number)) return;
  const found = held ? `epoch ${held.number} of move ${held.move}` : 'no epoch';
  throw failure('epoch-superseded', `${customer}: the database holds ${found}, not ${epoch.number} of this one`);
}

interface Standing {
  right: { site: string; epoch: string } | null;
  drain: { obeyed: boolean } | null;
}

/** A half in this site's own database: whose it is, and whether it is drained by this very move. */
async function standing(site: OwnSite, { key: { customer, epoch }, plan }: PlannedStep): Promise<Standing> {
  const database = site.database(customer);
  const half = halfOf(plan.decisions);
  const [right = null] = await database.query<{ site: string; epoch: string }>(
    'select site, epoch::text from tandem.serving where customer = $1 and half = $2',
    [customer, half],
  );
  const [drain = null] = await database.query<{ obeyed: boolean }>(
    `select obeyed_at is not null as obeyed from tandem.drained
      where customer = $1 and half = $2 and epoch = $3 and move = $4`,
    [customer, half, epoch.number, epoch.move],
  );
  return { right, drain };
}

/** For `done`: whether nobody serves the half, and its service was known to have let go. */
export async function drainStands(site: OwnSite, input: PlannedStep): Promise<{ seen: boolean; summary: string }> {
  const { drain } = await standing(site, input);
  const told =
    drain === null ? 'are not drained' : drain.obeyed ? 'are drained' : 'are drained; a retry asks the service';
  return { seen: drain?.obeyed === true, summary: `users of ${halfOf(input.plan.decisions)}: ${told}` };
}

/** For `done`: whether this site serves the half, as if nothing had been drained. */
export async function drainUndone(site: OwnSite, input: PlannedStep): Promise<{ seen: boolean; summary: string }> {
  const { right, drain } = await standing(site, input);
  const seen = right?.site === site.settings.site && drain === null;
  const told = `${right?.site ?? 'nobody'} may serve them under epoch ${right?.epoch ?? 'none'}`;
  const drained = drain === null ? '' : ', and they are drained';
  return { seen, summary: `users of ${halfOf(input.plan.decisions)}: ${told}${drained}` };
}

/** A half that nobody serves, for a move is about to hand it over. */
export interface Drained {
  half: string;
  move: string;
  since: Date;
  ageMs: number;
  /** Whether the move is still under way. */
  live: boolean;
}

/** Those that count: of the newest epoch. What a fork holds back is told as that. */
export async function drainedHere(database: Database, customer: string): Promise<Drained[]> {
  return database.query<Drained & Record<string, unknown>>(
    `select d.half, d.move, d.at as since, (extract(epoch from clock_timestamp() - d.at) * 1000)::float8 as "ageMs",
            exists (select from tandem.move m where m.move = d.move and m.ended_at is null) as live
       from tandem.drained d join tandem.epoch e on e.customer = d.customer and e.number = d.epoch
      where d.customer = $1 and d.move <> $2 order by d.half`,
    [customer, FORK_DRAIN],
  );
}

/**
 * Undoes drains whose move has ended without a hand-over: nothing of it can follow any more, for `serve-users` needs the row that
 * this takes away. Answers the halves. Safe to repeat.
 */
export async function endForgottenDrains(database: Database, customer: string): Promise<string[]> {
  const rows = await database.query<{ half: string }>(
    `delete from tandem.drained d using tandem.move m
      where d.customer = $1 and m.move = d.move and m.ended_at is not null returning d.half`,
    [customer],
  );
  return rows.map(({ half }) => half);
}
