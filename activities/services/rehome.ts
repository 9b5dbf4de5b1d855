import type { PoolClient } from 'pg';
import { failure } from '../../workflows/model/failures.ts';
import { isCohort } from '../../workflows/model/half.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import { halvesOf, type Plan } from '../../workflows/model/plan.ts';
import { MOMENTARY } from '../probes/services/momentary.ts';
import type { CustomerSettings } from '../settings.ts';
import { doneBefore, noteEffect } from './effects.ts';
import { askRights } from './obeyed.ts';
import {
  keptAtPeer,
  knowsHomes,
  REHOME,
  rehomeAtPeer,
  rehomeValues,
  usersAtPeer,
  type RehomeAnswer,
  type Rehoming,
} from './peer-homes.ts';
import type { PlannedStep } from './planned.ts';
import { knowHomesAlike, shareHomes } from './rehomed.ts';
import type { OwnSite } from './site.ts';

/** Users whom a planned move has given to the other site are its own from now on: the same homes at both sites, for good. */

const WHY: Partial<Record<string, string>> = {
  behind: 'its database has not obeyed the epoch of this move',
  forked: 'two moves have claimed its epoch',
  'own-half-elsewhere': 'by its database the destination does not serve its own users under the epoch of this move',
  'not-served-there': 'by its database the destination does not serve them under the epoch of this move',
  drained: 'a move is about to hand some of them over',
  unsalvaged: 'changes that were saved there are not brought home yet',
  'move-live': 'another move is under way there',
  'not-of-these-halves': 'some of them are of another half there',
  'others-in-cohort': 'somebody else is in one of these cohorts there',
};

/**
 * Makes the destination the home of everybody whom this move has given to it, in both sites' databases; cohorts among them end. The
 * destination's goes first, and this site's commits after it; cut off between the two, a repeat or the next look of either site comes to the same,
 * and nobody is served by both meanwhile, for old home and new are the destination's to serve. Nobody is signed out. Never before
 * this site holds all of them in a copy of the destination's (`not-covered`): should that be lost right after, they come back as its own users do.
 * Else `rehome-refused` says what stands against it. Safe to repeat, also in a later round.
 */
export async function rehomeUsers(site: OwnSite, input: PlannedStep, signal?: AbortSignal): Promise<StepResult> {
  const { customer: id } = input.key;
  const { decisions } = input.plan;
  const customer = site.customer(id);
  const database = site.database(id);
  if (decisions.planned?.rehome !== true)
    throw failure('rehome-refused', `${id}: nobody has asked for another home of these users, nor signed it`);
  const done = await doneBefore(database, input);
  if (!done) await shareHomes(database, customer, signal);
  const result = done ?? (await database.transaction((client) => rehome(client, input, customer, signal)));
  // Each looks homes up at most every half minute: whoever changes them says so.
  await Promise.all([decisions.from, decisions.to].map((one) => askRights(site.settings, customer, one, signal)));
  return result;
}

async function rehome(
  client: PoolClient,
  input: PlannedStep,
  customer: CustomerSettings,
  signal: AbortSignal | undefined,
): Promise<StepResult> {
  const { customer: id, epoch } = input.key;
  const { from, to } = input.plan.decisions;
  const halves = halvesOf(input.plan.decisions);
  const told = halves.join(' and ');
  await requireCovered(client, { id, halves, to, epoch: epoch.number });
  const { rows } = await client.query<{ names: string[]; copiedAt: Date | null }>(
    `select array(select username from tandem.home where site = any($2) and username not like $3 order by username collate "C") as names,
            (select max(copied_at) from tandem.handed where customer = $1 and half = any($2) and epoch = $4) as "copiedAt"`,
    [id, halves, MOMENTARY, epoch.number],
  );
  const { names = [], copiedAt = null } = rows[0] ?? {};
  const rehoming: Rehoming = { halves, to, names, epoch, copiedAt: (copiedAt ?? new Date()).toISOString() };
  const here = await client.query<RehomeAnswer>(REHOME, rehomeValues(id, rehoming));
  requireRehomed(`${id}: ${told} at ${from}`, here.rows[0], epoch.number);
  requireRehomed(`${id}: ${told} at ${to}`, await rehomeAtPeer(customer, rehoming, signal), epoch.number);
  const cohorts = halves.filter(isCohort);
  return noteEffect(client, input, {
    summary: `${to} is the home of ${names.length} users of ${told} from now on, at both sites`,
    facts: {
      half: told,
      users: names.length,
      epoch: epoch.number,
      ...(cohorts.length > 0 && { ended: cohorts.length }),
    },
  });
}

/** What the ledger says of each of them, and not the time of a snapshot: clocks of two sites differ, and one may lack some. */
async function requireCovered(
  client: PoolClient,
  { id, halves, to, epoch }: { id: string; halves: readonly string[]; to: string; epoch: number },
): Promise<void> {
  const { rows } = await client.query<{ lacking: number }>(
    `select count(*)::int as lacking from tandem.home h left join tandem.ledger l using (username)
      where h.site = any($1) and h.username not like $2 and (l.served_by = $3 and l.epoch >= $4) is not true`,
    [halves, MOMENTARY, to, epoch],
  );
  const lacking = rows[0]?.lacking ?? 0;
  if (lacking === 0) return;
  throw failure(
    'not-covered',
    `${id}: ${lacking} users of ${halves.join(' and ')} are in no copy of ${to} that this site holds yet: were ${to} lost now, they could not come back as its own users do`,
    { lacking },
  );
}

function requireRehomed(what: string, answer: RehomeAnswer | undefined, epoch: number): void {
  if (answer?.outcome === 'rehomed') return;
  if (answer?.outcome === 'refused')
    throw failure('epoch-superseded', `${what}: epoch ${answer.newest ?? '?'} stands there, this move has ${epoch}`);
  const many = answer && answer.users > 0 ? ` (${answer.users})` : '';
  throw failure('rehome-refused', `${what}: ${WHY[answer?.outcome ?? ''] ?? answer?.outcome ?? 'no answer'}${many}`);
}

/** For `done`, by both sites' databases: whether nobody is of these halves any more, and both know the same homes. */
export async function homesStand(
  site: OwnSite,
  { key, plan }: PlannedStep,
  signal: AbortSignal,
): Promise<{ seen: boolean; summary: string }> {
  const { from, to } = plan.decisions;
  const halves = halvesOf(plan.decisions);
  const customer = site.customer(key.customer);
  const database = site.database(key.customer);
  const [here] = await database.query<{ users: number }>('select tandem.count_users($1, $2)::int as users', [
    key.customer,
    halves,
  ]);
  const [there, alike] = await Promise.all([
    usersAtPeer(customer, halves, signal),
    knowHomesAlike(database, customer, signal),
  ]);
  const left = here?.users ?? 0;
  return {
    seen: left === 0 && there === 0 && alike,
    summary: `users of ${halves.join(' and ')}: ${left} at ${from}, ${there} at ${to}; homes that moves have given are ${alike ? 'the same' : 'not the same'} at both sites`,
  };
}

/** What can be foreseen of a step that comes last: said before anybody signs. */
export async function whyNotRehome(
  site: OwnSite,
  customer: CustomerSettings,
  halves: readonly string[],
  signal?: AbortSignal,
): Promise<string[]> {
  const { id, peer } = customer;
  if (!(await knowsHomes(customer, signal)))
    return [`${peer} does not know of homes that change: it is to be brought to this version`];
  const rows = await site
    .database(id)
    .query<{ half: string }>(
      'select distinct half from tandem.salvage where customer = $1 and half = any($2) and released_at is null order by half',
      [id, [...halves, peer]],
    );
  const kept = (await keptAtPeer(customer, peer, signal)) > 0;
  return [
    ...rows.map(({ half }) => `${site.settings.site} keeps changes of users of ${half} that are not brought home yet`),
    ...(kept ? [`${peer} keeps changes of its own users that are not brought home yet`] : []),
  ];
}

/** A runbook does what was asked for and signed, and nothing else of that kind. */
export function homesAsAsked(
  { steps, planned }: Pick<Plan['decisions'], 'steps' | 'planned'>,
  { to, owns }: { to: string; owns: readonly string[] },
): string[] {
  const step = steps.find(({ act }) => act === 'rehome-users');
  if (planned?.rehome !== true)
    return step === undefined
      ? []
      : [
          `step ${step.id} gives users another home, and nobody has asked for it: \`--rehome\`, or \`when: rehoming\` in the runbook`,
        ];
  return [
    ...(step === undefined ? ['another home is asked for, and the runbook has no step rehome-users'] : []),
    ...(owns.includes(to)
      ? []
      : [
          `${to} does not serve its own users: they go home first (\`tandem failback start --to ${to}\`), or nobody is given that home`,
        ]),
  ];
}
