import { failure } from '../../workflows/model/failures.ts';
import type { Database } from '../contacts/database.ts';
import type { CustomerSettings } from '../settings.ts';
import { entriesOfPeer, learnAtPeer, rehomedAtPeer, type Rehomed } from './peer-homes.ts';

/**
 * Users who were given another home for good (`tandem.rehomed`), as both sites have to know them: whoever is of one half here and of
 * another there would be served by both sites, or by none, once these halves are apart. One site may know it before the other: the move was
 * cut off between the two databases, or one of them was put back to a backup. The newer entry of a user counts, at whichever site it is.
 */

const WHY: Partial<Record<string, string>> = {
  unsalvaged: 'what was changed there is not salvaged yet',
  'copy-older': 'it holds an older copy of them than the one with which they were handed over',
  closed: 'its database has lost that they were handed over, and it has closed itself',
  'served-twice': 'its database had lost that they were handed over; it has let go of them',
};

async function rehomedHere(database: Database, customer: string): Promise<Rehomed> {
  const [row] = await database.query<Rehomed & Record<string, unknown>>(
    'select users::int, digest from tandem.observe_rehomed() where customer = $1',
    [customer],
  );
  if (!row) throw failure('database-wrong', `${customer}: ${database.name} is of another customer`);
  return row;
}

/** Whether both sites know the same of them. */
export async function knowHomesAlike(
  database: Database,
  customer: CustomerSettings,
  signal?: AbortSignal,
): Promise<boolean> {
  const [here, there] = await Promise.all([rehomedHere(database, customer.id), rehomedAtPeer(customer, signal)]);
  return here.digest === there.digest;
}

/** What a site has taken over of its peer's entries, and why it has not taken all; null where both know the same. */
export interface Learnt {
  users: number;
  left: string | null;
  /** It served some of them by rows that its database should not have had any more: it has let go of them. */
  servedTwice: boolean;
}

/**
 * Gives users the home that they have at the peer, where its entry of them is the newer one. What may not be taken yet is left: the next
 * look takes it. Safe to repeat.
 */
export async function adoptHomes(
  database: Database,
  customer: CustomerSettings,
  signal?: AbortSignal,
): Promise<Learnt | null> {
  if (await knowHomesAlike(database, customer, signal)) return null;
  const told = await entriesOfPeer(customer, signal);
  const [row] = await database.query<{ outcome: string; learnt: number }>(
    'select outcome, learnt::int from tandem.learn_rehomed($1, $2)',
    [customer.id, told],
  );
  const { outcome = 'nothing', learnt = 0 } = row ?? {};
  const left = outcome === 'learnt' ? null : (WHY[outcome] ?? outcome);
  return { users: learnt, left, servedTwice: outcome === 'served-twice' };
}

/** Has both sites know the same of them; `cohorts-differ` when they cannot. Safe to repeat. */
export async function shareHomes(database: Database, customer: CustomerSettings, signal?: AbortSignal): Promise<void> {
  const learnt = await adoptHomes(database, customer, signal);
  if (learnt === null || (await knowHomesAlike(database, customer, signal))) return;
  const [row] = await database.query<{ told: string }>(
    `select coalesce(jsonb_agg(to_jsonb(r)), '[]')::text as told from tandem.rehomed_entries($1) r`,
    [customer.id],
  );
  const outcome = await learnAtPeer(customer, row?.told ?? '[]', signal);
  if (await knowHomesAlike(database, customer, signal)) return;
  const why = learnt.left === null ? `at ${customer.peer}: ${WHY[outcome] ?? outcome}` : `here: ${learnt.left}`;
  throw failure('cohorts-differ', `${customer.id}: users are at home elsewhere by the other site’s database; ${why}`);
}
