import type { PoolClient } from 'pg';
import { failure } from '../../workflows/model/failures.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import { halvesOf } from '../../workflows/model/plan.ts';
import type { Right } from '../../workflows/model/rights.ts';
import type { Database } from '../contacts/database.ts';
import { noteEffect, readEffect } from './effects.ts';
import { FORK_DRAIN, refuseForked } from './fork.ts';
import { lookForLostHandOvers } from './lost-hand-over.ts';
import { askRights } from './obeyed.ts';
import { readRights, tellRight } from './own-rights.ts';
import type { PlannedStep } from './planned.ts';
import type { OwnSite } from './site.ts';

/** What becomes of halves that were drained (`tandem.drained`) and not handed over. */

/**
 * Turns a planned move back before its halves were handed over: this site serves them again, from one transaction on. It takes no
 * further epoch, as a failover's turn-back must: this site never lost the right, nobody else has to be told, and the one thing of
 * the move that could still take it, the hand-over, needs the drain that is gone, in this very database. `already-served` once
 * the half was handed over, by this database or by the destination's: there is no way back then but another move.
 */
export async function undoDrain(site: OwnSite, input: PlannedStep, signal?: AbortSignal): Promise<StepResult> {
  const { customer: id, epoch } = input.key;
  const halves = halvesOf(input.plan.decisions);
  const told = halves.join(' and ');
  const own = site.settings.site;
  const database = site.database(id);
  await lookForLostHandOvers(database, site.customer(id), signal);
  const result = await database.transaction(async (client) => {
    await lockHeld(client, id, input);
    await refuseForked(client, id);
    const done = await readEffect(client, input.key);
    if (done) return done;
    await client.query('select from tandem.move where move = $1 for update', [epoch.move]);
    const rights = await readRights(client, id, halves, 'for share');
    const gone = halves.find((half) => rights.get(half)?.site !== own);
    if (gone !== undefined) throw failure('already-served', `${id}: ${tellRight(gone, rights.get(gone))}`);
    const { rowCount } = await client.query(
      'delete from tandem.drained where customer = $1 and half = any($2) and epoch = $3 and move = $4',
      [id, halves, epoch.number, epoch.move],
    );
    const under = rights.get(halves[0] ?? '')?.epoch ?? epoch.number;
    return noteEffect(client, input, {
      summary: `${own} serves the users of ${told} ${rowCount === 0 ? 'as before: it had not drained them' : 'again'}, under epoch ${under}`,
      facts: { half: told, epoch: under, drained: rowCount !== 0 },
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
  half: string;
  right: Right | undefined;
  /** Whether its service was known to have let go; null: it is not drained by this very move. */
  drained: { obeyed: boolean } | null;
}

/** The halves in this site's own database: whose each is, and whether it is drained by this very move. */
async function standing(site: OwnSite, { key: { customer, epoch }, plan }: PlannedStep): Promise<Standing[]> {
  const halves = halvesOf(plan.decisions);
  return site.database(customer).connection(async (client) => {
    const rights = await readRights(client, customer, halves);
    const { rows } = await client.query<{ half: string; obeyed: boolean }>(
      `select half, obeyed_at is not null as obeyed from tandem.drained
        where customer = $1 and half = any($2) and epoch = $3 and move = $4`,
      [customer, halves, epoch.number, epoch.move],
    );
    return halves.map((half) => ({
      half,
      right: rights.get(half),
      drained: rows.find((row) => row.half === half) ?? null,
    }));
  });
}

type Seen = { seen: boolean; summary: string };

/** For `done`: whether nobody serves the halves, and the service was known to have let go. */
export async function drainStands(site: OwnSite, input: PlannedStep): Promise<Seen> {
  const all = await standing(site, input);
  const told = all.map(({ half, drained }) => {
    const now =
      drained === null ? 'are not drained' : drained.obeyed ? 'are drained' : 'are drained; a retry asks the service';
    return `users of ${half}: ${now}`;
  });
  return { seen: all.every(({ drained }) => drained?.obeyed === true), summary: told.join('; ') };
}

/** For `done`: whether this site serves the halves, as if nothing had been drained. */
export async function drainUndone(site: OwnSite, input: PlannedStep): Promise<Seen> {
  const all = await standing(site, input);
  const told = all.map(({ half, right, drained }) => {
    const and = drained === null ? '' : ', and they are drained';
    return `users of ${half}: ${right?.site ?? 'nobody'} may serve them under epoch ${right?.epoch ?? 'none'}${and}`;
  });
  const seen = all.every(({ right, drained }) => right?.site === site.settings.site && drained === null);
  return { seen, summary: told.join('; ') };
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
