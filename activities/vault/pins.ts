import { failureKind } from '../../workflows/model/failures.ts';
import { homeOf } from '../../workflows/model/half.ts';
import type { SnapshotId } from '../../workflows/model/snapshots.ts';
import type { Database } from '../contacts/database.ts';
import { requireIdentity } from '../contacts/prepare.ts';
import { appliedSnapshot } from '../contacts/applied.ts';
import { restoredHere, restoredThere, type Restored } from '../journal/restored.ts';
import { newestCovered, type Shelf } from './catalog.ts';
import { compareIds, type Manifest } from './manifest.ts';
import { readManifest } from './open.ts';
import type { Vault } from './port.ts';
import { SETTLE_MS, type Generation, type Shelved } from './retention.ts';

/** What of a vault is needed at any age, as manifests, receipts and this site's database tell. */

interface Needs {
  /** The peer's vault, which tells what of this site it has covered; null when it is not to be asked. */
  peer: Vault | null;
  database: Database;
  customer: string;
  site: string;
  signal: AbortSignal;
}

/** A silent peer is no reason to wait: what it has covered of this site lies in its own vault, and is kept there. */
const PEER_LIMIT_MS = 4000;
/** See `Facts.settled`. Asked newest first, so that mostly one manifest is read. */
export async function settledGeneration(shelf: Shelf, { generations }: Shelved, now: number): Promise<number | null> {
  const ids = [...generations.values()].flatMap(({ gen, manifests }) =>
    [...manifests].filter(([, at]) => now - at >= SETTLE_MS).map(([seq]) => idOf(shelf, gen, seq)),
  );
  for (const id of ids.toSorted((a, b) => compareIds(b, a))) if (await validManifest(shelf, id)) return id.gen;
  return null;
}

const idOf = ({ customer, site }: Shelf, gen: number, seq: number): SnapshotId => ({ customer, site, gen, seq });

/** Null when no signature vouches for it: that says nothing about its age. */
async function validManifest(shelf: Shelf, id: SnapshotId): Promise<Manifest | null> {
  try {
    return (await readManifest({ ...shelf, id }))?.manifest ?? null;
  } catch (error) {
    const kind = failureKind(error);
    if (kind === 'signature-invalid' || kind === 'snapshot-damaged' || kind === 'snapshot-format') return null;
    throw error;
  }
}

/** Recovery points of a generation, in ms, as far as its manifests hold. */
export async function points(shelf: Shelf, { gen, manifests }: Generation): Promise<number[]> {
  const found: number[] = [];
  for (const seq of manifests.keys()) {
    const manifest = await validManifest(shelf, idOf(shelf, gen, seq));
    if (manifest) found.push(Date.parse(manifest.point));
  }
  return found;
}

/** Generations of a source that are needed at any age. */
export async function pinsOf(request: Needs, shelf: Shelf, shelved: Shelved): Promise<Map<number, string>> {
  const { customer, site, database } = request;
  const { receipt } = shelved;
  const pins = await basesOfThoseAway(request, shelf, shelved);
  if (receipt) pins.set(receipt.gen, `the newest receipt is for its number ${receipt.seq}`);
  if (shelf.site === site) {
    const covered = await coveredByPeer(request, shelf);
    if (covered) pins.set(covered.gen, `number ${covered.seq} is the newest that the peer has covered`);
    return pins;
  }
  const covered = await newestCovered(shelf, site);
  if (covered) pins.set(covered.summary.gen, `number ${covered.summary.seq} is the newest that is covered`);
  const applied = await appliedSnapshot(database, customer, shelf.site);
  if (applied) pins.set(applied.gen, `the standby copy holds its number ${applied.seq}`);
  return pins;
}

/**
 * What was restored of users who are not home again, in whichever vault it lies: both sides of them are measured against it
 * on the way home, however long that takes.
 */
async function basesOfThoseAway(
  { database, customer, site }: Needs,
  shelf: Shelf,
  { generations }: Shelved,
): Promise<Map<number, string>> {
  const rows = await database.query<{ half: string; site: string; epoch: string; current: boolean }>(
    `select s.half, s.site, s.epoch::text, s.epoch = e.number as current
       from tandem.serving s join tandem.epoch e on e.customer = s.customer where s.customer = $1`,
    [customer],
  );
  const kept = await database.query<{ half: string; epoch: string }>(
    'select half, epoch::text from tandem.salvage where customer = $1 and released_at is null',
    [customer],
  );
  const pins = new Map<number, string>();
  // A cohort that is none any more has no row: its users are of the half that is named as their home.
  const isHome = ({ halves, epoch }: Restored): boolean =>
    halves
      .map((half) => rows.find((row) => row.half === half) ?? rows.find((row) => row.half === homeOf(half)))
      .every((row) => row?.site === homeOf(row?.half ?? '') && Number(row.epoch) > epoch);
  // They may be home all the time, as in a fork; what was salvaged here of them has begun with it.
  const isSalvaged = ({ halves, epoch }: Restored): boolean =>
    kept.some((one) => halves.includes(one.half) && Number(one.epoch) >= epoch);
  const pin = (all: readonly Restored[], because: (one: Restored) => string | null): void => {
    for (const one of all) {
      const why = one.snapshot.site === shelf.site ? because(one) : null;
      if (why === null) continue;
      const { snapshot, move, halves } = one;
      pins.set(
        snapshot.gen,
        `number ${snapshot.seq} is what move ${move} restored, and ${halves.join(' and ')} ${halves.length > 1 ? 'are' : 'is'} ${why}`,
      );
    }
  };
  const away = (one: Restored): string | null => (isHome(one) ? null : 'not home again');
  const here = (one: Restored): string | null =>
    away(one) ?? (isSalvaged(one) ? 'salvaged here, and not brought together yet' : null);
  pin(await restoredHere(database, customer), here);
  // What the peer's moves have restored is of this site's own users; while they are home, there is nothing to look for.
  if (
    shelf.site !== site ||
    (rows.some(({ half }) => half === site) &&
      rows.filter(({ half }) => homeOf(half) === site).every((row) => row.site === site && row.current))
  )
    return pins;
  for (const other of shelf.publicKeys.keys()) {
    if (other === site) continue;
    const { restored, unreadable } = await restoredThere({ ...shelf, site: other });
    pin(restored, away);
    if (unreadable === null) continue;
    for (const gen of generations.keys()) pins.set(gen, `what ${other} has restored is not known: ${unreadable}`);
  }
  return pins;
}

async function coveredByPeer({ peer, signal }: Needs, shelf: Shelf): Promise<SnapshotId | null> {
  if (!peer) return null;
  const limit = AbortSignal.timeout(PEER_LIMIT_MS);
  try {
    const covered = await newestCovered({ ...shelf, vault: peer, signal: AbortSignal.any([signal, limit]) }, peer.site);
    return covered?.summary ?? null;
  } catch (error) {
    signal.throwIfAborted();
    if (limit.aborted || failureKind(error) === 'vault-unreachable') return null;
    throw error;
  }
}

/** The move that holds the customer's slot at this site. The database must be the right one, or its silence says nothing. */
export async function liveMove({ database, customer, site }: Needs): Promise<string | null> {
  return database.transaction(async (client) => {
    await requireIdentity(client, customer, site);
    const { rows } = await client.query<{ move: string }>(
      'select move from tandem.move where customer = $1 and ended_at is null',
      [customer],
    );
    return rows[0]?.move ?? null;
  });
}
