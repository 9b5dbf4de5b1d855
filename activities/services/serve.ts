import type { PoolClient } from 'pg';
import { halfOf, halvesOf } from '../../workflows/model/plan.ts';
import { failure } from '../../workflows/model/failures.ts';
import type { StepKey, StepResult } from '../../workflows/model/moves.ts';
import { lockEpoch } from '../contacts/restore.ts';
import { endClosing, readClosing } from './closed.ts';
import { readAnew } from './end-sessions.ts';
import { handOver } from './hand-over.ts';
import { mendAgain } from './mend-again.ts';
import { noteEffect, readEffect } from './effects.ts';
import { requireServed } from './obeyed.ts';
import type { OwnSite } from './site.ts';
import type { PlannedStep } from './planned.ts';

/**
 * Gives this site the right to serve the users of the lost half, from one transaction on: the point of no return. A
 * repeat answers the time of the first, and asks the service again whether it obeys. In a planned move the site where the users
 * are hands them over instead.
 */
export async function serveUsers(site: OwnSite, input: PlannedStep, signal?: AbortSignal): Promise<StepResult> {
  if (input.plan.decisions.planned) return handOver(site, input, signal);
  const result = await giveRight(site, input, signal);
  const customer = site.customer(input.key.customer);
  const halves = halvesOf(input.plan.decisions);
  const told = await requireServed(site.settings, customer, halves, signal);
  const obeyed = told === '' ? result : { ...result, summary: `${result.summary}; ${told}` };
  return input.plan.decisions.again?.base ? readAnew(site, input, { halves, result: obeyed }, signal) : obeyed;
}

async function giveRight(site: OwnSite, input: PlannedStep, signal: AbortSignal | undefined): Promise<StepResult> {
  const { key, plan } = input;
  const { id } = site.customer(key.customer);
  const own = site.settings.site;
  const halves = halvesOf(plan.decisions);
  const database = site.database(id);
  return database.transaction(async (client) => {
    await lockEpoch(client, database.name, id, key.epoch);
    const done = await readEffect(client, key);
    if (done) return done;
    // Who is served already changes things himself, and nothing of that may be undone.
    const mended = plan.decisions.again ? { told: '', alarm: '' } : await mendAgain(client, site, input, signal);
    const { rowCount } = await client.query(
      `insert into tandem.serving as s (customer, half, site, epoch) select $1, half, $3, $4 from unnest($2::text[]) half
       on conflict (customer, half) do update set site = excluded.site, epoch = excluded.epoch, at = now()
         where s.epoch < excluded.epoch or (s.epoch = excluded.epoch and s.site = excluded.site)`,
      [id, halves, own, key.epoch.number],
    );
    if (rowCount !== halves.length)
      throw failure(
        'epoch-superseded',
        `${id}: the right to serve ${halves.join(' and ')} is held under a newer epoch than ${key.epoch.number}`,
      );
    const opened = await openForMove(client, id, key.epoch);
    const { rows } = await client.query<{ users: number; disabled: number }>(
      `select count(*)::int as users, count(*) filter (where not tandem.entitled(username))::int as disabled
         from tandem.home where site = any($1)`,
      [halves],
    );
    const { users = 0, disabled = 0 } = rows[0] ?? {};
    const without = disabled > 0 ? `; ${disabled} of them are disabled in the directory, and stay out` : '';
    const also = mended.told === '' ? '' : `; ${mended.told}`;
    return noteEffect(client, input, {
      summary: `${own} serves the ${users} users of ${halves.join(' and ')} under epoch ${key.epoch.number}${without}${also}${opened}`,
      facts: {
        half: halfOf(plan.decisions),
        ...(halves.length > 1 && { halves: halves.join(' ') }),
        users,
        ...(disabled > 0 && { disabled }),
        epoch: key.epoch.number,
        servedAt: new Date().toISOString(),
      },
      ...(mended.alarm !== '' && { alarms: [mended.alarm] }),
    });
  });
}

/**
 * A site that closed itself is opened by the move that gives it users: those who signed its plan were told that it was closed,
 * and the epoch is this site's own. Which of two lines stands no move decides.
 */
async function openForMove(client: PoolClient, customer: string, { number, move }: StepKey['epoch']): Promise<string> {
  const closing = await readClosing(client, customer, true);
  if (!closing) return '';
  if (closing.kind === 'fork')
    throw failure('site-closed', `${customer}: this site is closed since ${closing.since}: ${closing.because}`);
  await endClosing(client, customer, closing, { because: `move ${move} serves here under epoch ${number}` });
  return `; it was closed since ${closing.since} (${closing.kind}), and is open`;
}
