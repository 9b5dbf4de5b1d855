import { failure, failureText, type FailureKind } from '../../workflows/model/failures.ts';
import type { Claim, Epoch } from '../../workflows/model/epoch.ts';
import type { MoveUnderWay } from '../../workflows/model/test-live.ts';
import { isServersAnswer, peerQuery, within } from '../probes/peer.ts';
import type { CustomerSettings } from '../settings.ts';

/** What a move does in its peer's database, by the functions that it has there (`tandem_peer`). Each is safe to repeat. */

/** It answers at once, or is not there. */
const LIMIT_MS = 5000;

export interface PeerCall {
  signal?: AbortSignal | undefined;
  /** What it is when nothing answers, and what to add then. */
  silent: { kind: FailureKind; because?: string };
  /** Of one statement that does much, ms. */
  limitMs?: number;
}

export const planned: PeerCall['silent'] = { kind: 'destination-unreachable' };

/** One statement there. What it refuses is `database-refused`; silence is what the caller says. */
export async function ask<Row extends Record<string, unknown>>(
  { peer, peerDatabaseUrl }: CustomerSettings,
  sql: string,
  values: unknown[],
  { signal, silent, limitMs = LIMIT_MS }: PeerCall,
): Promise<Row[]> {
  const what = `database of ${peer}`;
  const query = (limit: AbortSignal): Promise<Row[]> => peerQuery<Row>(peerDatabaseUrl, limitMs, sql, values, limit);
  return within(limitMs, what, query, signal).catch((error: unknown) => {
    signal?.throwIfAborted();
    if (isServersAnswer(error)) throw failure('database-refused', `${what}: ${failureText(error)}`);
    throw failure(
      silent.kind,
      `${what}: ${failureText(error)}${silent.because === undefined ? '' : `; ${silent.because}`}`,
    );
  });
}

function requireOutcome(
  { peer }: CustomerSettings,
  answer: { outcome: string; newest: string } | undefined,
  wanted: string,
  epoch: Epoch,
): void {
  if (answer?.outcome === wanted) return;
  if (answer?.outcome === 'refused')
    throw failure(
      'epoch-superseded',
      `${peer}: its database holds epoch ${answer.newest}, this move offers ${epoch.number}`,
    );
  throw failure('database-wrong', `database of ${peer}: answered ${answer?.outcome ?? 'nothing'}`);
}

/** Gives the peer a half to serve: once its database has it, its service obeys within seconds. */
export async function handOverAtPeer(
  customer: CustomerSettings,
  half: string,
  epoch: Epoch,
  { signal, silent = planned }: Partial<PeerCall>,
): Promise<void> {
  const sql = 'select outcome, newest::text from tandem.hand_over($1, $2, $3, $4, $5)';
  const values = [customer.id, half, epoch.number, epoch.site, epoch.move];
  const [answer] = await ask<{ outcome: string; newest: string }>(customer, sql, values, { signal, silent });
  requireOutcome(customer, answer, 'open', epoch);
}

/**
 * The same in a planned move, for a peer that holds the snapshot of this site of `copiedAt`, or a newer one; `destination-behind`
 * when it does not, for it was put back to a backup meanwhile.
 */
export async function handOverCopied(
  customer: CustomerSettings,
  half: string,
  epoch: Epoch,
  copiedAt: string,
  signal?: AbortSignal,
): Promise<void> {
  const sql = 'select outcome, newest::text from tandem.hand_over($1, $2, $3, $4, $5, $6)';
  const values = [customer.id, half, epoch.number, epoch.site, epoch.move, copiedAt];
  const [answer] = await ask<{ outcome: string; newest: string }>(customer, sql, values, { signal, silent: planned });
  if (answer?.outcome === 'behind')
    throw failure(
      'destination-behind',
      `${customer.peer}: its database does not hold the snapshot of ${epoch.site} of ${copiedAt}, nor a newer one; ${half} is its own already`,
    );
  requireOutcome(customer, answer, 'open', epoch);
}

/**
 * Halves that the peer has handed over, and the recovery point of what whoever takes them must hold. None of a peer of an older
 * version, which hands nothing over in a planned move.
 */
export async function handedByPeer(
  customer: CustomerSettings,
  signal?: AbortSignal,
): Promise<{ half: string; epoch: number; copiedAt: Date }[]> {
  const call = { signal, silent: planned };
  const version = `select to_regprocedure('tandem.observe_handed()') is not null as tells`;
  const [peer] = await ask<{ tells: boolean }>(customer, version, [], call);
  if (peer?.tells !== true) return [];
  const sql = 'select half, epoch::text, copied_at as at from tandem.observe_handed() where customer = $1';
  const rows = await ask<{ half: string; epoch: string; at: Date }>(customer, sql, [customer.id], call);
  return rows.map(({ half, epoch, at }) => ({ half, epoch: Number(epoch), copiedAt: at }));
}

/** The cohorts that the peer knows; none of a peer of an older version, which has none. */
export async function cohortsOfPeer(
  customer: CustomerSettings,
  signal?: AbortSignal,
): Promise<Map<string, { half: string; users: number; digest: string }>> {
  const call = { signal, silent: planned };
  const version = `select to_regprocedure('tandem.observe_cohorts()') is not null as tells`;
  const [peer] = await ask<{ tells: boolean }>(customer, version, [], call);
  if (peer?.tells !== true) return new Map();
  const sql = 'select half, users::int, digest from tandem.observe_cohorts() where customer = $1';
  const rows = await ask<{ half: string; users: number; digest: string }>(customer, sql, [customer.id], call);
  return new Map(rows.map((row) => [row.half, row]));
}

/** Has the peer know a cohort of a half that `own` serves, with nobody in it yet; answers what it says. */
export async function makeCohortAtPeer(
  customer: CustomerSettings,
  { half, own }: { half: string; own: string },
  signal?: AbortSignal,
): Promise<string> {
  const sql = 'select tandem.make_cohort($1, $2, $3) as outcome';
  const call = { signal, silent: planned };
  const [answer] = await ask<{ outcome: string }>(customer, sql, [customer.id, half, own], call);
  return answer?.outcome ?? 'nothing';
}

/** Who is in a cohort, by the peer's database. */
export async function membersAtPeer(customer: CustomerSettings, half: string, signal?: AbortSignal): Promise<string[]> {
  const sql = 'select username from tandem.cohort_members($1, $2) username';
  const rows = await ask<{ username: string }>(customer, sql, [customer.id, half], { signal, silent: planned });
  return rows.map(({ username }) => username);
}

/** Has the peer take these users into a cohort of a half that `own` serves; answers what it says. */
export async function divideAtPeer(
  customer: CustomerSettings,
  { half, names, own }: { half: string; names: readonly string[]; own: string },
  signal?: AbortSignal,
): Promise<string> {
  const sql = 'select outcome from tandem.divide($1, $2, $3, $4)';
  const [answer] = await ask<{ outcome: string }>(customer, sql, [customer.id, half, names, own], {
    signal,
    silent: planned,
  });
  return answer?.outcome ?? 'nothing';
}

/** Has the peer follow a claim of a planned move: it goes on serving what that leaves to it. */
export async function followAtPeer(customer: CustomerSettings, claim: Claim, signal?: AbortSignal): Promise<void> {
  const sql = 'select outcome, newest::text from tandem.follow($1, $2, $3, $4, $5, $6)';
  const { number, site, move, follows = 0, keeps = [] } = claim;
  const values = [customer.id, number, site, move, follows, keeps];
  const [answer] = await ask<{ outcome: string; newest: string }>(customer, sql, values, { signal, silent: planned });
  requireOutcome(customer, answer, 'follows', claim);
}

/** The recovery point of the newest snapshot of `site` that the peer holds applied; null when it holds none. */
export async function appliedAtPeer(
  customer: CustomerSettings,
  site: string,
  signal?: AbortSignal,
): Promise<string | null> {
  const sql = 'select point from tandem.observe_applied() where customer = $1 and site = $2';
  const rows = await ask<{ point: Date | null }>(customer, sql, [customer.id, site], { signal, silent: planned });
  return rows[0]?.point?.toISOString() ?? null;
}

/**
 * To how many users of these halves the peer has not applied the newest snapshot of `site` that it holds: what stands there of them, or nothing,
 * is what they would be served with. Null where it does not tell: one of an older version, or which applied it as such.
 */
export async function heldAtPeer(
  customer: CustomerSettings,
  site: string,
  halves: readonly string[],
  signal?: AbortSignal,
): Promise<number | null> {
  const call = { signal, silent: planned };
  const version = `select to_regprocedure('tandem.observe_held(text, text[])') is not null as tells`;
  const [peer] = await ask<{ tells: boolean }>(customer, version, [], call);
  if (peer?.tells !== true) return null;
  const sql = 'select held from tandem.observe_held($2, $3) where customer = $1';
  const [row] = await ask<{ held: number | null }>(customer, sql, [customer.id, site, halves], call);
  return row?.held ?? null;
}

/** `destination-behind` while some users of these halves would be served with older rows than they have here. */
export async function refuseHeld(
  customer: CustomerSettings,
  site: string,
  halves: readonly string[],
  signal?: AbortSignal,
): Promise<void> {
  const held = await heldAtPeer(customer, site, halves, signal);
  if (held === 0) return;
  const { peer } = customer;
  throw failure(
    'destination-behind',
    held === null
      ? `${peer}: it does not tell whether its copy has all users of ${halves.join(' and ')}: it is to be brought to this version`
      : heldText(peer, halves, held),
    { stage: 'held', held },
  );
}

export const heldText = (peer: string, halves: readonly string[], held: number): string =>
  `${peer}: its copy lacks ${held} users of ${halves.join(' and ')}: they are not at home there by its directory, or have rows there that no snapshot brought`;

/** The move that is under way at the peer; null when none is, or a peer of an older version does not tell. */
export async function moveAtPeer(customer: CustomerSettings, signal?: AbortSignal): Promise<MoveUnderWay | null> {
  const call = { signal, silent: planned };
  const version = `select to_regprocedure('tandem.observe_move()') is not null as tells`;
  const [peer] = await ask<{ tells: boolean }>(customer, version, [], call);
  if (peer?.tells !== true) return null;
  const [row] = await ask<MoveUnderWay & Record<string, unknown>>(customer, MOVE_UNDER_WAY, [customer.id], call);
  return row ?? null;
}

/** In either site's database. */
export const MOVE_UNDER_WAY =
  'select move, kind, half, to_site as to, phase, claimed, handed from tandem.observe_move() where customer = $1';

/** How the peer's own database has a half; null when it says nothing of it. */
export async function rightAtPeer(
  customer: CustomerSettings,
  half: string,
  { signal, silent = planned }: Partial<PeerCall>,
): Promise<{ site: string; epoch: number; open: boolean } | null> {
  const sql = 'select site, epoch::text, open from tandem.observe() where customer = $1 and half = $2';
  const rows = await ask<{ site: string; epoch: string; open: boolean }>(customer, sql, [customer.id, half], {
    signal,
    silent,
  });
  const [row] = rows;
  return row ? { ...row, epoch: Number(row.epoch) } : null;
}

/** What was salvaged of a half under that epoch has been brought together: the peer keeps it no longer than anything else. */
export async function releaseAtPeer(
  customer: CustomerSettings,
  half: string,
  epoch: number,
  signal?: AbortSignal,
): Promise<number> {
  const sql = 'select tandem.release_salvages($1, $2, $3)::int as released';
  const values = [customer.id, half, epoch];
  const [row] = await ask<{ released: number }>(customer, sql, values, { signal, silent: planned });
  return row?.released ?? 0;
}

/** The same of users who are served here, and stay: the peer has to know that they are. */
export async function releaseStayedAtPeer(
  customer: CustomerSettings,
  half: string,
  epoch: number,
  signal?: AbortSignal,
): Promise<void> {
  const sql = 'select tandem.release_stayed($1, $2, $3) as released';
  const call = { signal, silent: planned };
  const [row] = await ask<{ released: boolean }>(customer, sql, [customer.id, half, epoch], call);
  if (row?.released !== true)
    throw failure('database-wrong', `database of ${customer.peer}: it does not know yet that ${half} is served here`);
}
