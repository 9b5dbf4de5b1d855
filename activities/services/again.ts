import { AGAIN_MS, asTheyStand, type Again } from '../../workflows/model/again.ts';
import { failureText } from '../../workflows/model/failures.ts';
import type { Plan, RecoverySource } from '../../workflows/model/plan.ts';
import { duration } from '../../workflows/model/rto.ts';
import type { Timestamp } from '../../workflows/model/snapshots.ts';
import { within, withPeerVault } from '../probes/peer.ts';
import type { Observation } from '../probes/source.ts';
import type { Database } from '../contacts/database.ts';
import type { CustomerSettings } from '../settings.ts';
import type { Claims } from '../vault/epochs.ts';
import { readManifest } from '../vault/open.ts';
import type { Vault } from '../vault/port.ts';
import { takenOver, type ServedBy } from './restored-here.ts';
import type { OwnSite } from './site.ts';

/** A failover of users whom this site serves already: the data step again, or none. */

const VAULT_MS = 10_000;
/** Between the clocks of two sites, at most. */
const CLOCKS_MS = 900_000;

/** Where the users of a half are as this site's database has it: here, or with the peer. */
export async function whereServed(site: OwnSite, { id, peer }: CustomerSettings, half: string): Promise<string> {
  const own = site.settings.site;
  const here = await site.database(id).query(
    `select from tandem.serving s join tandem.epoch e on e.customer = s.customer and e.number = s.epoch
      where s.customer = $1 and s.half = $2 and s.site = $3`,
    [id, half, own],
  );
  return here.length > 0 ? own : peer;
}

export interface FoundAgain {
  /** Null: this database may be older than what its users have changed elsewhere, and they are restored as lost ones are. */
  again: Again | null;
  /** Why the recovery point that was asked for cannot be brought; null when it can, or none was asked for. */
  why: string | null;
  /** Why it may be older; whoever signs has to know. */
  doubt: string | null;
}

export interface AskedAgain {
  /** Whose users move; this site serves all of them. */
  halves: readonly string[];
  /** What the declarer asks for; null when he leaves it to the plan. */
  recoveryPoint: Timestamp | null;
  /** What the plan would restore. */
  source: RecoverySource;
  /** A claim that this database does not know, and that is not of this move; null when there is none. */
  behind: string | null;
}

/** Of another move: this site's database does not hold what was claimed, and may be older than it. Null when there is none. */
export function unknownClaim(
  { claimed, seen, ledger }: { claimed: { claims: readonly Claims[] }; seen: Observation; ledger: { epoch: number } },
  move: string | undefined,
): string | null {
  const others = claimed.claims.flatMap(({ newest }) => (newest && newest.move !== move ? [newest.number] : []));
  const newest = Math.max(0, ...others, seen.claimed, seen.epoch?.number ?? 0);
  return newest > ledger.epoch ? `epoch ${newest} is claimed, which it does not know: it holds ${ledger.epoch}` : null;
}

/** What becomes of users who are served here: nobody is ever set back for a failover that was only declared once more. */
export async function findAgain(
  site: OwnSite,
  customer: CustomerSettings,
  { halves, recoveryPoint, source, behind }: AskedAgain,
  signal?: AbortSignal,
): Promise<FoundAgain> {
  const database = site.database(customer.id);
  const moves: ServedBy[][] = [];
  for (const half of halves) moves.push(await takenOver(database, customer.id, half));
  const since = sinceOf(moves) ?? (await rightSince(site, customer, halves));
  const whose = `users of ${halves.join(' and ')}`;
  const stop = (why: string): FoundAgain => ({ again: { since, base: null }, why, doubt: null });
  const asLost = (doubt: string): FoundAgain => ({ again: null, why: null, doubt });
  if (behind !== null) return asLost(behind);
  if (source.snapshot.site === customer.peer && Date.parse(source.point) > Date.parse(since) + CLOCKS_MS)
    return asLost(
      `${customer.peer} has a snapshot of ${source.point}, and served somebody since ${whose} came here at ${since}`,
    );
  if (recoveryPoint === null) return { again: { since, base: null }, why: null, doubt: null };
  const halfDone = await unfinished(database, customer.id, since);
  if (halfDone !== null)
    return stop(
      `move ${halfDone} has brought some of them to another point, and not come to its end: \`tandem failover resume\``,
    );
  if (moves.some((of) => of.length === 0)) return stop(`no failover has restored ${whose} here`);
  const brought = moves.map((of) => of.findLast(({ source: from }) => from !== null)?.source ?? null);
  const [base] = brought;
  // Passed over by people, or called done by hand: what stands is of a time that nobody knows.
  if (!base || brought.includes(null)) return asLost(`the failover that brought ${whose} here has restored nobody`);
  if (brought.some((other) => other?.manifest !== base.manifest))
    return stop(`${whose} were restored by different moves: each on its own, with \`--half\``);
  if (Date.now() - Date.parse(since) > AGAIN_MS)
    return stop(
      `${whose} are served here since ${since}, and another recovery point can be brought within ${duration(AGAIN_MS)} after that only: without \`--recovery-point\` nobody's contacts are touched`,
    );
  if (source.from === 'standby-copy')
    return stop(`no vault gives a snapshot of before that time, and the standby copy is what they were restored from`);
  if (source.manifest === base.manifest)
    return stop(`${whose} stand as of snapshot ${base.snapshot.seq}, of ${base.point}, already: ask for another time`);
  try {
    const from = await vaultThatHolds(site, customer, base, signal);
    if (from)
      return {
        again: { since, base: { snapshot: base.snapshot, manifest: base.manifest, from } },
        why: null,
        doubt: null,
      };
    return stop(
      `no vault holds snapshot ${base.snapshot.seq} of ${base.snapshot.site} any more, as of which they were restored`,
    );
  } catch (error) {
    signal?.throwIfAborted();
    return stop(
      `snapshot ${base.snapshot.seq}, as of which they were restored, cannot be looked up: ${failureText(error)}`,
    );
  }
}

/** An earlier `again`, since they are served here, that was ended among its users: what it wrote would pass for what they have changed. Null when there is none. */
async function unfinished(database: Database, id: string, since: Timestamp): Promise<string | null> {
  const [row] = await database.query<{ move: string }>(
    `select r.move from tandem.reconciled r
      where r.at >= $2 and exists (select from tandem.journal p where p.customer = $1 and p.move = r.move and p.kind = 'planned'
                       and p.body::jsonb #>> '{decisions,again,base}' is not null)
        and not exists (select from tandem.journal e where e.move = r.move and e.kind = 'step' and e.key like 'effect/%'
                           and e.body::jsonb ->> 'act' = 'restore-contacts')
      limit 1`,
    [id, since],
  );
  return row?.move ?? null;
}

/** The first of them, for who was served first has changed most. Null when one was not taken over, or does not tell. */
function sinceOf(moves: readonly ServedBy[][]): Timestamp | null {
  const times = moves.map(([first]) => Date.parse(first?.servedAt ?? ''));
  const first = Math.min(...times);
  return Number.isNaN(first) ? null : new Date(first).toISOString();
}

async function rightSince(site: OwnSite, { id }: CustomerSettings, halves: readonly string[]): Promise<Timestamp> {
  const [row] = await site
    .database(id)
    .query<{ at: Date }>('select min(at) as at from tandem.serving where customer = $1 and half = any($2)', [
      id,
      halves,
    ]);
  return (row?.at ?? new Date(0)).toISOString();
}

/** Its own vault first. The peer's may hang: it is asked within a limit, and only when the own one does not have it. */
async function vaultThatHolds(
  site: OwnSite,
  { peer }: CustomerSettings,
  { snapshot, manifest }: RecoverySource,
  signal: AbortSignal | undefined,
): Promise<'own-vault' | 'peer-vault' | null> {
  const { publicKeys, peerVaults } = site.settings;
  const holds = async (vault: Vault, limit: AbortSignal): Promise<boolean> =>
    (await readManifest({ vault, id: snapshot, publicKeys, signal: limit }))?.summary.manifest === manifest;
  const own = (limit: AbortSignal): Promise<boolean> => holds(site.vault, limit);
  if (await within(VAULT_MS, `vault of ${site.settings.site}`, own, signal)) return 'own-vault';
  const access = peerVaults.get(peer);
  if (!access) return null;
  const theirs = (limit: AbortSignal): Promise<boolean> => withPeerVault(access, (vault) => holds(vault, limit));
  return (await within(VAULT_MS, `vault of ${peer}`, theirs, signal)) ? 'peer-vault' : null;
}

/** Why nobody can sign for the recovery point that was asked for. */
export const blockedAgain = (found: FoundAgain | null): Plan['blockers'] =>
  found?.why == null ? [] : [{ kind: 'already-served', text: found.why }];

/** For whoever signs, beside what is to be accepted by name. */
export const againNotes = (own: string, half: string, again: Again | null): string[] =>
  again && !again.base ? [asTheyStand(own, half, again)] : [];
