import { failure, failureText } from '../../workflows/model/failures.ts';
import { damagedSeqs } from '../../workflows/model/checks.ts';
import type { Plan, RecoverySource } from '../../workflows/model/plan.ts';
import {
  whyShrunk,
  type SnapshotCounts,
  type SnapshotSummary,
  type Timestamp,
} from '../../workflows/model/snapshots.ts';
import { appliedSnapshot, type AppliedSnapshot } from '../contacts/applied.ts';
import { readHighWater } from '../contacts/high-water.ts';
import { withPeerVault, within } from '../probes/peer.ts';
import type { CustomerSettings } from '../settings.ts';
import { coveredSnapshots, newestSnapshot, type Shelf } from '../vault/catalog.ts';
import { newestCheck } from '../vault/checks.ts';
import { asGivenAway, givenAway, isOlder, olderText } from './given-away.ts';
import type { OwnSite } from './site.ts';

/** Disks outlive halls: whether the lost site's vault gives something newer is looked at for so long. */
const SOURCE_VAULT_LIMIT_MS = 2000;
/** This site's own vault is here, and may be slow under load; past this the standby copy does, which needs no vault. */
export const OWN_VAULT_LIMIT_MS = 10_000;

interface Wanted {
  /** Whose users are to be restored. */
  halves: readonly string[];
  disruptedAt: Timestamp;
  /** The newest point the declarer allows; null when he leaves it to the plan. */
  recoveryPoint: Timestamp | null;
}

export type Chosen = Pick<Plan, 'source' | 'fallback' | 'notTaken'>;

/** A snapshot that may be the source. */
interface Candidate {
  from: RecoverySource['from'];
  site: string;
  gen: number;
  seq: number;
  manifest: string;
  point: Timestamp;
  counts: SnapshotCounts;
}

/**
 * Where the data comes from, best first: a newer snapshot that the lost site's own vault still gives, else the newest
 * covered one in this vault, else the standby copy in this database, which needs no vault. Never one from after the
 * disruption: it may hold what the disaster wrote. Never one from before this site itself had handed these users over: what
 * they did here is in none of those, but in this site's own last one. What was tried and not taken is told, with the reason.
 */
export async function chooseSource(
  site: OwnSite,
  customer: CustomerSettings,
  wanted: Wanted,
  signal?: AbortSignal,
): Promise<Chosen> {
  const given = await givenAway(site.database(customer.id), customer, wanted.halves);
  const search: Search = {
    ...limitOf(wanted),
    halves: wanted.halves,
    since: given?.epoch ?? 0,
    sinceMs: given?.atMs ?? 0,
    notTaken: [],
  };
  const [own, applied] = await Promise.all([
    newestInOwnVault(site, customer, search, signal),
    appliedSnapshot(site.database(customer.id), customer.id, customer.peer),
  ]);
  const safe = await bestHere(site, customer, { own, applied }, search);
  const newer = await newerInSourceVault(site, customer, safe, search, signal);
  const { notTaken } = search;
  const best = newer ?? safe ?? (given && (await asGivenAway(site, customer, given, search, signal)));
  if (!best) {
    const tried = notTaken.map((n) => `${n.from}: ${n.because}`).join('; ');
    throw failure(
      'no-recovery-point',
      `${customer.id}: no snapshot of ${customer.peer} can be restored here (${tried})`,
    );
  }
  const sourceOf = ({ from, site: of, gen, seq, point, manifest, counts }: Candidate): RecoverySource => ({
    snapshot: { customer: customer.id, site: of, gen, seq },
    manifest,
    point,
    from,
    users: counts.users,
    applied: applied !== null && of === applied.site && applied.gen === gen && applied.seq === seq,
  });
  const second = newer ? safe : await sameInStandby(site, wanted.halves, best, applied);
  return { source: sourceOf(best), ...(second && { fallback: sourceOf(second) }), notTaken };
}

/** What this vault gives, as the standby copy holds it too: should the vault fail in the middle, nobody waits for it. */
async function sameInStandby(
  site: OwnSite,
  halves: readonly string[],
  best: Candidate,
  applied: AppliedSnapshot | null,
): Promise<Candidate | null> {
  if (best.from !== 'own-vault' || best.site !== applied?.site) return null;
  if (applied.gen !== best.gen || applied.seq !== best.seq) return null;
  return (await usersFrom(site, applied, halves)) > 0 ? { ...best, from: 'standby-copy' } : null;
}

interface Search {
  halves: readonly string[];
  /** The epoch under which this site handed them over; snapshots of older ones do not count. 0 when it never did. */
  since: number;
  /** When that was, by this site's database: under the same epoch it had not served them before either. */
  sinceMs: number;
  /** In ms. */
  latest: number;
  limit: string;
  notTaken: Plan['notTaken'];
}

function limitOf({ disruptedAt, recoveryPoint }: Wanted): Pick<Search, 'latest' | 'limit'> {
  const asked = recoveryPoint === null ? null : Date.parse(recoveryPoint);
  const latest = Math.min(Date.parse(disruptedAt), asked ?? Infinity);
  const limit =
    asked !== null && asked === latest
      ? `the recovery point asked for, ${new Date(latest).toISOString()}`
      : `the disruption at ${disruptedAt}`;
  return { latest, limit };
}

/** A vault that is away, hangs or answers with errors is one that holds nothing: the reason is told. */
async function newestInOwnVault(
  site: OwnSite,
  customer: CustomerSettings,
  search: Search,
  signal: AbortSignal | undefined,
): Promise<Candidate | null> {
  const { notTaken } = search;
  const tell = (because: string): void => void notTaken.push({ from: 'own-vault', because });
  try {
    const look = (limited: AbortSignal): Promise<Looked> => lookInOwnVault(site, customer, search, limited);
    const what = `vault of ${site.settings.site}`;
    const { found, later, older, suspect, damaged } = await within(OWN_VAULT_LIMIT_MS, what, look, signal);
    if (suspect > 0) tell(`${suspect} suspect, which nobody has accepted`);
    if (damaged > 0) tell(`${damaged} damaged, by the newest check of this vault`);
    if (later > 0) tell(`${later} covered, of a time after ${search.limit}`);
    if (older) tell(olderText(search));
    if (!found) tell(`none is covered${later > 0 ? ' before that' : ''}`);
    return found && { from: 'own-vault', ...found };
  } catch (error) {
    if (signal?.aborted) throw error;
    const pulled = await readHighWater(site.database(customer.id), customer.id, customer.peer);
    tell(`${failureText(error)}${pulled ? `; the newest that was pulled into it is number ${pulled.seq}` : ''}`);
    return null;
  }
}

interface Looked {
  found: SnapshotSummary | null;
  /** There are none but from before the hand-over. */
  older: boolean;
  later: number;
  suspect: number;
  damaged: number;
}

async function lookInOwnVault(
  site: OwnSite,
  customer: CustomerSettings,
  search: Search,
  signal: AbortSignal,
): Promise<Looked> {
  const { latest } = search;
  const looked: Looked = { found: null, older: false, later: 0, suspect: 0, damaged: 0 };
  const covered = coveredSnapshots(
    { ...shelfOf(site, customer), vault: site.vault, signal },
    site.settings.site,
    () => (looked.suspect += 1),
    () => (looked.damaged += 1),
  );
  for await (const { summary } of covered) {
    if (isOlder(summary, search)) return { ...looked, older: true };
    if (Date.parse(summary.point) <= latest) return { ...looked, found: summary };
    looked.later += 1;
  }
  return looked;
}

/** The newer of what this vault gives and what the standby copy holds; the vault's when both are the same. */
async function bestHere(
  site: OwnSite,
  customer: CustomerSettings,
  { own, applied }: { own: Candidate | null; applied: AppliedSnapshot | null },
  { halves, latest, limit, since, sinceMs, notTaken }: Search,
): Promise<Candidate | null> {
  const pass = (because: string): Candidate | null => {
    notTaken.push({ from: 'standby-copy', because });
    return own;
  };
  if (applied === null) return own ?? pass('it holds no snapshot whole');
  const { gen, seq, manifest, point, counts, epoch } = applied;
  if (isOlder({ epoch: epoch ?? 0, point: point ?? '' }, { since, sinceMs }))
    return pass(`it holds number ${seq}, from before ${site.settings.site} handed them over`);
  if (point === null || counts === null)
    return own ?? pass(`it holds number ${seq}, and does not tell of which time that is`);
  if (Date.parse(point) > latest) return pass(`it holds number ${seq}, of a time after ${limit}`);
  if (own && own.seq === seq) return own; // The same, and the vault's records can be compared row by row.
  if (own && own.seq > seq) return pass(`it holds number ${seq}, older than number ${own.seq} of this vault`);
  if ((await usersFrom(site, applied, halves)) === 0 && counts.users > 0)
    return pass(`it held number ${seq}; the ledger has none of these users from ${customer.peer} any more`);
  if (own) notTaken.push({ from: 'own-vault', because: `its number ${own.seq} is older than the standby copy` });
  return { from: 'standby-copy', site: applied.site, gen, seq, manifest, point, counts };
}

/** Users of the lost half whom the ledger has from there: none once they were served here and in a snapshot since. */
async function usersFrom(
  site: OwnSite,
  { customer, site: from }: Pick<AppliedSnapshot, 'customer' | 'site'>,
  halves: readonly string[],
): Promise<number> {
  const [row] = await site
    .database(customer)
    .query<{ n: number }>(
      'select count(*)::int as n from tandem.home h join tandem.ledger l using (username) where h.site = any($1) and l.served_by = $2',
      [halves, from],
    );
  return row?.n ?? 0;
}

async function newerInSourceVault(
  site: OwnSite,
  customer: CustomerSettings,
  safe: Candidate | null,
  { latest, limit, since, sinceMs, notTaken }: Search,
  signal: AbortSignal | undefined,
): Promise<Candidate | null> {
  const access = site.settings.peerVaults.get(customer.peer);
  const pass = (because: string): null => {
    notTaken.unshift({ from: 'source-vault', because });
    return null;
  };
  if (!access) return pass('no credentials for it are configured');
  try {
    const look = (limited: AbortSignal): Promise<{ newest: SnapshotSummary | null; damaged: number }> =>
      withPeerVault(access, async (vault) => {
        const shelf: Shelf = { ...shelfOf(site, customer), vault, signal: limited };
        const damaged = damagedSeqs(await newestCheck(shelf, customer.peer));
        const found = await newestSnapshot(shelf, safe?.gen ?? 0, damaged);
        return { newest: found?.summary ?? null, damaged: damaged.size };
      });
    const { newest, damaged } = await within(SOURCE_VAULT_LIMIT_MS, `vault of ${customer.peer}`, look, signal);
    const sound = damaged > 0 ? ` that is whole; ${damaged} damaged, by its own check` : '';
    if (!newest) return pass(`it holds no snapshot${sound}`);
    if (isOlder(newest, { since, sinceMs })) return pass(olderText({ since }));
    const here = safe?.from === 'standby-copy' ? 'the standby copy' : 'this vault';
    if (safe && newest.seq <= safe.seq) return pass(`it holds none newer than ${here}${sound}`);
    if (Date.parse(newest.point) > latest) return pass(`its newest, number ${newest.seq}, is of a time after ${limit}`);
    const shrunk = safe && whyShrunk(safe.counts, newest.counts);
    if (shrunk) return pass(`its newest, number ${newest.seq}, is suspect: ${shrunk} since number ${safe.seq}`);
    return { from: 'source-vault', ...newest };
  } catch (error) {
    if (signal?.aborted) throw error;
    return pass(failureText(error)); // Lost is what it was declared to be.
  }
}

const shelfOf = (site: OwnSite, customer: CustomerSettings): Omit<Shelf, 'vault'> => ({
  customer: customer.id,
  site: customer.peer,
  publicKeys: site.settings.publicKeys,
});
