import type { Epoch } from '../../workflows/model/epoch.ts';
import type { CustomerSettings } from '../settings.ts';
import { ask, planned } from './peer-functions.ts';

/** What a site does about homes that have changed in its peer's database, by the functions that it has there. Each is safe to repeat. */

/** Of tens of thousands of users. */
const MANY_MS = 30_000;

/** Who has been given another home, as a count and a digest. */
export interface Rehomed {
  users: number;
  digest: string;
}

/** The digest of nobody; of a peer of an older version, which has given nobody another home. */
const NOBODY: Rehomed = { users: 0, digest: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855' };

export async function rehomedAtPeer(customer: CustomerSettings, signal?: AbortSignal): Promise<Rehomed> {
  if (!(await knowsHomes(customer, signal))) return NOBODY;
  const sql = 'select users::int, digest from tandem.observe_rehomed() where customer = $1';
  const [row] = await ask<Rehomed & Record<string, unknown>>(customer, sql, [customer.id], { signal, silent: planned });
  return row ?? NOBODY;
}

/** Whether the peer is of a version that can be told of homes. */
export async function knowsHomes(customer: CustomerSettings, signal?: AbortSignal): Promise<boolean> {
  const sql = `select to_regprocedure('tandem.observe_rehomed()') is not null as tells`;
  const [peer] = await ask<{ tells: boolean }>(customer, sql, [], { signal, silent: planned });
  return peer?.tells === true;
}

/** Its entries, as JSON that goes into this site's database as it is. Names: they go nowhere else. */
export async function entriesOfPeer(customer: CustomerSettings, signal?: AbortSignal): Promise<string> {
  const sql = `select coalesce(jsonb_agg(to_jsonb(r)), '[]')::text as told from tandem.rehomed_entries($1) r`;
  const call = { signal, silent: planned, limitMs: MANY_MS };
  const [row] = await ask<{ told: string }>(customer, sql, [customer.id], call);
  return row?.told ?? '[]';
}

/** Has the peer take the entries of this site that are newer than its own; answers what it says. */
export async function learnAtPeer(customer: CustomerSettings, told: string, signal?: AbortSignal): Promise<string> {
  const sql = 'select outcome from tandem.learn_rehomed($1, $2)';
  const call = { signal, silent: planned, limitMs: MANY_MS };
  const [row] = await ask<{ outcome: string }>(customer, sql, [customer.id, told], call);
  return row?.outcome ?? 'nothing';
}

/** Who is to be at home where, and by which move. */
export interface Rehoming {
  halves: readonly string[];
  to: string;
  names: readonly string[];
  epoch: Epoch;
  /** The recovery point of what the destination held of them when they were handed over, ISO 8601. */
  copiedAt: string;
}

/** As both sites' databases are asked for it. */
export const REHOME = 'select outcome, newest::text, users::int from tandem.rehome($1, $2, $3, $4, $5, $6, $7, $8)';
export const rehomeValues = (id: string, { halves, to, names, epoch, copiedAt }: Rehoming): unknown[] => [
  id,
  halves,
  to,
  names,
  epoch.number,
  epoch.site,
  epoch.move,
  copiedAt,
];

export interface RehomeAnswer extends Record<string, unknown> {
  outcome: string;
  newest: string | null;
  users: number;
}

export async function rehomeAtPeer(
  customer: CustomerSettings,
  rehoming: Rehoming,
  signal?: AbortSignal,
): Promise<RehomeAnswer | undefined> {
  const call = { signal, silent: planned, limitMs: MANY_MS };
  const [answer] = await ask<RehomeAnswer>(customer, REHOME, rehomeValues(customer.id, rehoming), call);
  return answer;
}

/** Users of these halves, by the peer's database. */
export async function usersAtPeer(
  customer: CustomerSettings,
  halves: readonly string[],
  signal?: AbortSignal,
): Promise<number> {
  const sql = 'select tandem.count_users($1, $2)::int as users';
  const [row] = await ask<{ users: number }>(customer, sql, [customer.id, halves], { signal, silent: planned });
  return row?.users ?? 0;
}

/** Salvages of a half that the peer keeps, for they were not brought home. */
export async function keptAtPeer(customer: CustomerSettings, half: string, signal?: AbortSignal): Promise<number> {
  const sql = `select count(*)::int as n from tandem.observe_salvage() where customer = $1 and half = $2 and not released`;
  const [row] = await ask<{ n: number }>(customer, sql, [customer.id, half], { signal, silent: planned });
  return row?.n ?? 0;
}
