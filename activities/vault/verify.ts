import type { KeyObject } from 'node:crypto';
import { failure } from '../../workflows/model/failures.ts';
import type { Receipt, SnapshotCounts, SnapshotId } from '../../workflows/model/snapshots.ts';
import type { Keyring } from '../settings.ts';
import { damaged } from './bytes.ts';
import { readReceipt } from './catalog.ts';
import { LOCK_MS, linked } from './generation.ts';
import { manifestKey, receiptKey, type Manifest, type SignedManifest } from './manifest.ts';
import { readManifest } from './open.ts';
import { fetchPack, openPack, rangesOf, type PackRef } from './pack-reader.ts';
import type { Vault } from './port.ts';
import { count, noCounts } from './record.ts';
import { SetHash } from './set-hash.ts';
import { seal } from './signed.ts';

export interface VerifyRequest {
  /** This site's own vault. */
  vault: Vault;
  /** This site, which signs the receipt. */
  site: string;
  id: SnapshotId;
  keys: Keyring;
  signingKey: KeyObject;
  publicKeys: ReadonlyMap<string, KeyObject>;
  /** Why the snapshot is not believed; null when nothing speaks against it. */
  judge?: (manifest: Manifest) => Promise<string | null>;
  heartbeat: (progress: { packs: number; users: number }) => void;
  signal: AbortSignal;
}

/** A time later than this machine's own by more is not believed (VAULT, rule 6). */
const CLOCK_TOLERANCE_MS = 120_000;

/**
 * Opens every frame of every pack of a snapshot in this vault, recomputes hashes, set and counts, and leaves a signed
 * receipt. Repeated, it opens everything again and answers with the receipt that stands. What does not hold is
 * `snapshot-damaged` and named; also `key-missing`, `key-wrong`, `signature-invalid`, `snapshot-format`,
 * `no-recovery-point`, `clock-wrong`.
 */
export async function verifySnapshot(request: VerifyRequest): Promise<Receipt> {
  const { vault, site, id, signal } = request;
  const found = await readManifest({ vault, id, publicKeys: request.publicKeys, signal });
  const where = `vault ${vault.site}: ${manifestKey(id)}`;
  if (!found) throw failure('no-recovery-point', `${where} is not there`);
  const { manifest, summary } = found;
  const aheadMs = Date.parse(manifest.point) - Date.now();
  if (aheadMs > CLOCK_TOLERANCE_MS) {
    throw failure('clock-wrong', `${where}: its recovery point is ${Math.round(aheadMs / 1000)} s ahead, limit 120 s`);
  }
  await checkChain(request, found);
  const opened = await openEverything(request, manifest);
  if (opened.set !== manifest.setHash) throw damaged(where, 'its users are not those its manifest says');
  const differs = Object.entries(opened.counts).filter(([k, n]) => n !== manifest.counts[k as keyof SnapshotCounts]);
  if (differs.length > 0)
    throw damaged(where, `counts differ from its manifest: ${differs.map(([k]) => k).join(', ')}`);
  const suspect = (await request.judge?.(manifest)) ?? null;
  const { customer, gen, seq } = id;
  return keepReceipt(request, {
    format: 1,
    snapshot: { customer, site: id.site, gen, seq },
    manifest: summary.manifest,
    point: manifest.point,
    site,
    verifiedAt: new Date().toISOString(),
    counts: opened.counts,
    ...(suspect !== null && { suspect }),
  });
}

/** The manifest before it, where this vault holds that, must be the one it was linked to. */
async function checkChain({ vault, publicKeys, signal }: VerifyRequest, { manifest }: SignedManifest): Promise<void> {
  const { previous } = manifest;
  if (!previous) return;
  const before = await readManifest({ vault, id: linked(manifest, previous), publicKeys, signal });
  if (before && before.summary.manifest !== previous.manifest) {
    throw damaged(
      `vault ${vault.site}: ${manifestKey(manifest)}`,
      `it follows another manifest than number ${previous.seq}`,
    );
  }
}

async function openEverything(
  request: VerifyRequest,
  manifest: Manifest,
): Promise<{ set: string; counts: SnapshotCounts }> {
  const counts = noCounts();
  const seen = new Set<string>();
  const set = new SetHash();
  for (const [index, ref] of manifest.packs.entries()) {
    request.signal.throwIfAborted();
    await openWhole(request, manifest, ref, { counts, seen, set });
    request.heartbeat({ packs: index + 1, users: counts.users });
  }
  return { set: set.toString(), counts };
}

interface Tally {
  counts: SnapshotCounts;
  /** userKeys that a newer pack has settled. */
  seen: Set<string>;
  set: SetHash;
}

async function openWhole(request: VerifyRequest, manifest: Manifest, ref: PackRef, tally: Tally): Promise<void> {
  const { vault, keys, signal } = request;
  const where = `vault ${vault.site}: pack ${ref.sha256.slice(0, 16)} of ${manifestKey(manifest)}`;
  const bytes = await fetchPack(vault, manifest, ref, signal);
  if (bytes.length !== ref.bytes) throw damaged(where, `${bytes.length} bytes, its manifest says ${ref.bytes}`);
  const pack = await openPack(rangesOf(bytes, ref.footer, where), keys, manifest, ref.keyId);
  const frames: Buffer[] = [];
  for (const number of pack.footer.frames.keys()) frames.push(await pack.frame(number));
  for (const entry of pack.footer.entries) {
    const record = await pack.record(entry, frames[entry.frame]);
    const name = entry.userKey.toString('latin1');
    if (tally.seen.has(name)) continue;
    tally.seen.add(name);
    count(tally.counts, record.bytes);
    tally.set.add(entry.userKey, entry.recordId);
  }
  for (const gone of pack.footer.tombstones) tally.seen.add(gone.toString('latin1'));
}

async function keepReceipt(request: VerifyRequest, receipt: Receipt): Promise<Receipt> {
  const { vault, site, id, signingKey, publicKeys, signal } = request;
  const key = receiptKey(site, id);
  const lockUntil = new Date(Date.now() + LOCK_MS);
  if ((await vault.put(key, seal('receipt', site, signingKey, receipt), { lockUntil, signal })) !== 'taken') {
    return receipt;
  }
  const shelf = { vault, customer: id.customer, site: id.site, publicKeys, signal };
  const standing = await readReceipt(shelf, site, id);
  if (standing?.manifest === receipt.manifest) return standing;
  throw damaged(`vault ${vault.site}: ${key}`, 'a receipt for another manifest stands there');
}
