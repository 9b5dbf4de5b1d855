import { setTimeout } from 'node:timers/promises';
import type { PoolClient } from 'pg';
import { failure, failureText } from '../../workflows/model/failures.ts';
import { homeOf, isCohort } from '../../workflows/model/half.ts';
import type { Database } from '../contacts/database.ts';
import { MOMENTARY } from '../probes/services/momentary.ts';
import type { CustomerSettings } from '../settings.ts';
import { askRights, LEASE_MS } from './obeyed.ts';
import { cohortsOfPeer, divideAtPeer, makeCohortAtPeer } from './peer-functions.ts';
import { knowHomesAlike, shareHomes } from './rehomed.ts';
import type { OwnSite } from './site.ts';

/** Groups of a half's users who can move on their own (`tandem.home`), and move with the half while they are where it is. */

/** Who is in a cohort, by one database: the digest is that of their names. */
export interface Cohort {
  half: string;
  users: number;
  digest: string;
}

/** Cohorts of a home that `site` has the right to serve, as it has the half itself, by this database; a cohort has none. */
export async function cohortsAt(database: Database, customer: string, half: string, site: string): Promise<string[]> {
  if (isCohort(half)) return [];
  const rows = await database.query<{ half: string; site: string }>(
    'select half, site from tandem.serving where customer = $1 and tandem.home_of(half) = $2 order by half',
    [customer, half],
  );
  if (rows.find((row) => row.half === half)?.site !== site) return [];
  return rows.filter((row) => row.half !== half && row.site === site).map((row) => row.half);
}

/** The half that is named as a home, and its cohorts, wherever they are served. */
export async function halvesOfHome(database: Database, customer: string, home: string): Promise<string[]> {
  const rows = await database.query<{ half: string }>(
    'select half from tandem.serving where customer = $1 and tandem.home_of(half) = $2 order by half',
    [customer, home],
  );
  return rows.map(({ half }) => half);
}

/** By half, as this site's own database has them. */
export async function cohortsHere(client: PoolClient, customer: string): Promise<Map<string, Cohort>> {
  const { rows } = await client.query<Cohort>(
    'select half, users::int, digest from tandem.observe_cohorts() where customer = $1',
    [customer],
  );
  return new Map(rows.map((row) => [row.half, row]));
}

/** Cohorts of a home that are not the same at both sites; none when nobody has any. */
export function unlike(here: ReadonlyMap<string, Cohort>, there: ReadonlyMap<string, Cohort>, home?: string): string[] {
  const names = [...new Set([...here.keys(), ...there.keys()])].toSorted();
  return names.filter(
    (half) => (home === undefined || homeOf(half) === home) && here.get(half)?.digest !== there.get(half)?.digest,
  );
}

const WHY: Partial<Record<string, string>> = {
  'unknown-half': 'it knows no such half',
  'not-served-there': 'by its database another site serves that half, or under an older epoch',
  apart: 'by its database the cohort and the half are served by different sites',
  drained: 'a move is about to hand the half over',
  unsalvaged: 'what was changed there is not brought home yet',
  'move-live': 'a move is under way there',
  'handed-apart':
    'the half and the cohort were handed over one after the other: they are one again once they have been home',
  'not-of-this-half': 'some of them are not of this half there',
};

/**
 * Takes these users of a half that this site serves into a cohort, and everybody else of it back, at both sites; nobody in it
 * ends it. A new one is made first, and both services read that, before anybody is put into it. The peer's database goes first: this
 * site's commits after it, so that it never knows what the peer has refused. `cohorts-differ` tells what stands against it. Answers
 * how many are in it. Safe to repeat.
 */
export async function setCohort(
  site: OwnSite,
  customer: CustomerSettings,
  { half, names }: { half: string; names: readonly string[] },
  signal?: AbortSignal,
): Promise<number> {
  const own = site.settings.site;
  const database = site.database(customer.id);
  const [strangers] = await database.query<{ n: number }>(
    `select count(*)::int as n from unnest($1::text[]) n
      where not exists (select from tandem.home h where h.username = n and h.site in ($2, $3))`,
    [names, half, homeOf(half)],
  );
  // Before anything is made.
  if (strangers?.n) requireOutcome(`${customer.id}: ${half} at ${own}`, 'not-of-this-half', 'divided');
  if (names.length > 0 && !(await halvesOfHome(database, customer.id, homeOf(half))).includes(half)) {
    await database.transaction(async (client) => {
      const { rows } = await client.query<{ outcome: string }>('select tandem.make_cohort($1, $2, $3) as outcome', [
        customer.id,
        half,
        own,
      ]);
      requireOutcome(`${customer.id}: ${half} at ${own}`, rows[0]?.outcome, 'made');
      const there = await makeCohortAtPeer(customer, { half, own }, signal);
      requireOutcome(`${customer.id}: ${half} at ${customer.peer}`, there, 'made');
    });
    await Promise.all([own, customer.peer].map((one) => serviceReads(site, customer, one, signal)));
  }
  const users = await database.transaction(async (client) => {
    const { rows } = await client.query<{ outcome: string; users: string }>(
      'select outcome, users::text from tandem.divide($1, $2, $3, $4)',
      [customer.id, half, names, own],
    );
    requireOutcome(`${customer.id}: ${half} at ${own}`, rows[0]?.outcome, 'divided');
    const there = await divideAtPeer(customer, { half, names, own }, signal);
    requireOutcome(`${customer.id}: ${half} at ${customer.peer}`, there, 'divided');
    return Number(rows[0]?.users);
  });
  // It looks homes up at most every half minute: whoever changes them says so.
  await Promise.all([own, customer.peer].map((one) => askRights(site.settings, customer, one, signal)));
  return users;
}

/** Whoever is put into a half that a service has not read of yet is nobody's to it, for a second or two. */
async function serviceReads(
  { settings }: OwnSite,
  customer: CustomerSettings,
  at: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (!settings.services.has(at)) return;
  const { rights } = await askRights(settings, customer, at, signal);
  if (!rights) await setTimeout(LEASE_MS, undefined, signal && { signal });
}

function requireOutcome(what: string, outcome: string | undefined, wanted: 'made' | 'divided'): void {
  if (outcome !== wanted) throw failure('cohorts-differ', `${what}: ${WHY[outcome ?? ''] ?? outcome ?? 'no answer'}`);
}

export async function namesOf(database: Database, half: string): Promise<string[]> {
  const rows = await database.query<{ username: string }>(
    'select username from tandem.home where site = $1 and username not like $2 order by username collate "C"',
    [half, MOMENTARY],
  );
  return rows.map(({ username }) => username);
}

/**
 * Has the peer know the cohorts of a home as this site does, which serves it; of every home that it serves, when none is named; and both
 * sites who is at home where. Whoever were of one half here and of another there would be served by both sites once these halves are apart. `cohorts-differ`
 * when it cannot be. Safe to repeat.
 */
export async function shareCohorts(
  site: OwnSite,
  customer: CustomerSettings,
  home?: string,
  signal?: AbortSignal,
): Promise<void> {
  const own = site.settings.site;
  const database = site.database(customer.id);
  await shareHomes(database, customer, signal);
  const mine = await database.connection((client) => cohortsHere(client, customer.id));
  for (const half of unlike(mine, await cohortsOfPeer(customer, signal), home)) {
    const names = await namesOf(database, half);
    const what = `${customer.id}: ${half} at ${customer.peer}`;
    if (names.length > 0) {
      requireOutcome(what, await makeCohortAtPeer(customer, { half, own }, signal), 'made');
      await serviceReads(site, customer, customer.peer, signal);
    }
    requireOutcome(what, await divideAtPeer(customer, { half, names, own }, signal), 'divided');
  }
}

/** Why both sites cannot be said to have the same users, and cohorts, of a home; null when they have. */
export async function whyApart(
  site: OwnSite,
  customer: CustomerSettings,
  home: string,
  signal?: AbortSignal,
): Promise<string | null> {
  const database = site.database(customer.id);
  try {
    if (!(await knowHomesAlike(database, customer, signal)))
      return `users have been given another home, and not all of it is known both at ${site.settings.site} and at ${customer.peer}: \`tandem cohort share\``;
    const here = await database.connection((client) => cohortsHere(client, customer.id));
    const differ = unlike(here, await cohortsOfPeer(customer, signal), home);
    return differ.length === 0
      ? null
      : `users of ${differ.join(' and ')} are not the same at ${site.settings.site} and at ${customer.peer}: \`tandem cohort share\``;
  } catch (error) {
    signal?.throwIfAborted();
    return `cohorts at ${customer.peer} are not known: ${failureText(error)}`;
  }
}
