import type { PoolClient } from 'pg';
import { failure, failureText } from '../../workflows/model/failures.ts';
import { homeOf, isCohort } from '../../workflows/model/half.ts';
import type { Database } from '../contacts/database.ts';
import { MOMENTARY } from '../probes/services/momentary.ts';
import type { CustomerSettings } from '../settings.ts';
import { cohortsOfPeer, divideAtPeer } from './peer-functions.ts';
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
export function apart(here: ReadonlyMap<string, Cohort>, there: ReadonlyMap<string, Cohort>, home?: string): string[] {
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
  'not-of-this-half': 'some of them are not of this half there',
};

/**
 * Takes these users of a half that this site serves into a cohort, and everybody else of it back, at both sites; nobody in it
 * ends it. The peer's database first: this site's goes along in one transaction that commits after it, so that it never knows a
 * cohort that the peer has refused. `cohorts-differ` tells what stands against it. Answers how many are in it. Safe to repeat.
 */
export async function setCohort(
  site: OwnSite,
  customer: CustomerSettings,
  { half, names }: { half: string; names: readonly string[] },
  signal?: AbortSignal,
): Promise<number> {
  const own = site.settings.site;
  const database = site.database(customer.id);
  return database.transaction(async (client) => {
    const { rows } = await client.query<{ outcome: string; users: string }>(
      'select outcome, users::text from tandem.divide($1, $2, $3, $4)',
      [customer.id, half, names, own],
    );
    requireDivided(`${customer.id}: ${half} at ${own}`, rows[0]?.outcome);
    requireDivided(
      `${customer.id}: ${half} at ${customer.peer}`,
      await divideAtPeer(customer, { half, names, own }, signal),
    );
    return Number(rows[0]?.users);
  });
}

function requireDivided(what: string, outcome = 'nothing'): void {
  if (outcome !== 'divided') throw failure('cohorts-differ', `${what}: ${WHY[outcome] ?? outcome}`);
}

export async function namesOf(database: Database, half: string): Promise<string[]> {
  const rows = await database.query<{ username: string }>(
    'select username from tandem.home where site = $1 and username not like $2 order by username collate "C"',
    [half, MOMENTARY],
  );
  return rows.map(({ username }) => username);
}

/**
 * Has the peer know the cohorts of every half that this site serves as this site does: whoever were of one half here and of
 * another there would be served by both sites once these halves are. `cohorts-differ` when it cannot be. Safe to repeat.
 */
export async function shareCohorts(site: OwnSite, customer: CustomerSettings, signal?: AbortSignal): Promise<void> {
  const own = site.settings.site;
  const database = site.database(customer.id);
  const mine = await database.connection((client) => cohortsHere(client, customer.id));
  const theirs = await cohortsOfPeer(customer, signal);
  const differ = apart(mine, theirs);
  if (differ.length === 0) return;
  const served = await database.query<{ half: string }>(
    'select half from tandem.serving where customer = $1 and site = $2',
    [customer.id, own],
  );
  for (const half of differ) {
    if (!served.some((row) => row.half === homeOf(half)))
      throw failure('cohorts-differ', `${customer.id}: ${half} is not the same at ${own} and at ${customer.peer}`);
    const outcome = await divideAtPeer(customer, { half, names: await namesOf(database, half), own }, signal);
    requireDivided(`${customer.id}: ${half} at ${customer.peer}`, outcome);
  }
}

/** Why both sites cannot be said to have the same cohorts of a home; null when they have. */
export async function whyApart(
  site: OwnSite,
  customer: CustomerSettings,
  home: string,
  signal?: AbortSignal,
): Promise<string | null> {
  try {
    const here = await site.database(customer.id).connection((client) => cohortsHere(client, customer.id));
    const differ = apart(here, await cohortsOfPeer(customer, signal), home);
    return differ.length === 0
      ? null
      : `users of ${differ.join(' and ')} are not the same at ${site.settings.site} and at ${customer.peer}: \`tandem cohort share\``;
  } catch (error) {
    signal?.throwIfAborted();
    return `cohorts at ${customer.peer} are not known: ${failureText(error)}`;
  }
}
