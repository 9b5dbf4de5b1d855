import type { Damage } from '../../workflows/model/checks.ts';
import type { SnapshotId } from '../../workflows/model/snapshots.ts';
import { failureText } from '../../workflows/model/failures.ts';
import type { Database } from '../contacts/database.ts';
import type { Keyring } from '../settings.ts';
import { ahead } from './ahead.ts';
import { ChainTally } from './chain-tally.ts';
import { manifestKey, type Manifest } from './manifest.ts';
import { noteOpened } from './opened.ts';
import { fetchPack, packKey, type PackRef } from './pack-reader.ts';
import type { Vault } from './port.ts';
import { isDamage, type Repairer } from './repair.ts';
import { countsThatDiffer } from './verify.ts';
import { openWholePack } from './whole-pack.ts';

/** Packs that are fetched while one is opened; each is up to 4 MiB. */
const AHEAD = 2;

export interface GenerationWork {
  own: Vault;
  database: Database;
  keys: Keyring;
  repairer: Repairer;
  /** Opened so lately that it is left for the next time. */
  recent: (gen: number, sha256: string) => boolean;
  /** Whether one of these snapshots is still there. */
  stillHeld: (seqs: readonly number[]) => Promise<boolean>;
  report: { packs: number; bytes: number; counted: number; damaged: Damage[]; repaired: Damage[] };
  heartbeat: () => void;
  signal: AbortSignal;
}

/** What is left of a manifest when its packs are known: they are many, and shared. */
type Claim = Pick<Manifest, 'seq' | 'setHash' | 'counts'> & { packs: number };

/** The packs of a generation, oldest first, and which of its snapshots need them. */
export class HeldGeneration {
  readonly place: SnapshotId;
  private readonly packs: { ref: PackRef; seqs: number[] }[] = [];
  private readonly numbers = new Map<string, number>();
  /** Snapshots whose packs are exactly the first so many. */
  private readonly claims: Claim[] = [];

  constructor(place: SnapshotId) {
    this.place = place;
  }

  /** Manifests come oldest first. */
  add({ seq, setHash, counts, packs }: Manifest): void {
    let inOrder = true;
    for (const [i, ref] of packs.toReversed().entries()) {
      const known = this.numbers.get(ref.sha256);
      const number = known ?? this.packs.push({ ref, seqs: [] }) - 1;
      this.numbers.set(ref.sha256, number);
      this.packs[number]?.seqs.push(seq);
      inOrder &&= number === i;
    }
    if (inOrder) this.claims.push({ seq, setHash, counts, packs: packs.length });
  }

  /**
   * Opens every pack that was not opened lately, and mends from the other vault what does not open. As far as packs are
   * opened from the base on without a gap, what each manifest says of its users and rows is checked too.
   */
  async open(work: GenerationWork): Promise<void> {
    const { own, signal, recent, report } = work;
    let tally: ChainTally | null = new ChainTally();
    this.checkClaims(work, tally, 0);
    const due = this.packs.flatMap((pack, number) =>
      recent(this.place.gen, pack.ref.sha256) ? [] : [{ ...pack, number }],
    );
    const fetched = ahead(due, async (pack) => ({ pack, bytes: await this.fetch(own, pack.ref, signal) }), AHEAD);
    let next = 0;
    for await (const { pack, bytes } of fetched) {
      signal.throwIfAborted();
      if (pack.number !== next) tally = null;
      next = pack.number + 1;
      const good = await this.openOne(work, pack, bytes, tally);
      if (!good) tally = null;
      if (tally) this.checkClaims(work, tally, next);
      report.packs += 1;
      report.bytes += pack.ref.bytes;
      work.heartbeat();
    }
  }

  private async fetch(own: Vault, ref: PackRef, signal: AbortSignal): Promise<Buffer | Error> {
    try {
      return await fetchPack(own, this.place, ref, signal);
    } catch (error) {
      if (isDamage(error)) return error;
      throw error;
    }
  }

  /** Whether it is whole now. */
  private async openOne(
    { own, database, keys, repairer, report, stillHeld }: GenerationWork,
    { ref, seqs }: { ref: PackRef; seqs: number[] },
    bytes: Buffer | Error,
    tally: ChainTally | null,
  ): Promise<boolean> {
    const key = packKey(this.place, ref.sha256);
    const fault = await this.read({ bytes, where: `vault ${own.site}: ${key}` }, ref, keys, tally);
    if (!fault) {
      await noteOpened(database, this.place, ref.sha256, null);
      return true;
    }
    if (!(await stillHeld(seqs))) return false; // Deleted since, with its generation.
    const damage: Damage = { object: 'pack', key, gen: this.place.gen, seqs, because: failureText(fault) };
    const found = await repairer.pack(this.place, ref, keys);
    if ('good' in found && !(await this.read({ bytes: found.good, where: key }, ref, keys, tally))) {
      report.repaired.push(damage);
      await noteOpened(database, this.place, ref.sha256, null);
      return true;
    }
    if ('because' in found) damage.because += `; not mended: ${found.because}`;
    report.damaged.push(damage);
    await noteOpened(database, this.place, ref.sha256, damage.because);
    return false;
  }

  /** What is wrong with it; null when nothing is. */
  private async read(
    { bytes, where }: { bytes: Buffer | Error; where: string },
    ref: PackRef,
    keys: Keyring,
    tally: ChainTally | null,
  ): Promise<Error | null> {
    if (bytes instanceof Error) return bytes;
    try {
      await openWholePack(
        { bytes, where },
        { place: this.place, ref, keys },
        (entry, record) => tally?.apply(entry, record),
        (userKey) => tally?.forget(userKey),
      );
      return null;
    } catch (error) {
      if (isDamage(error)) return error;
      throw error;
    }
  }

  private checkClaims({ report }: GenerationWork, tally: ChainTally, packs: number): void {
    for (const claim of this.claims) {
      if (claim.packs !== packs) continue;
      report.counted += 1;
      const differs = countsThatDiffer(claim.counts, tally.counts);
      if (claim.setHash !== tally.setHash) differs.unshift('users');
      if (differs.length === 0) continue;
      const { seq } = claim;
      const key = manifestKey({ ...this.place, seq });
      const because = `it says other ${differs.join(', ')} than its packs hold`;
      report.damaged.push({ object: 'manifest', key, gen: this.place.gen, seqs: [seq], because });
    }
  }
}
