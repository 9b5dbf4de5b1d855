import type { KeyObject } from 'node:crypto';
import { failureText } from '../../workflows/model/failures.ts';
import type { Check, Damage } from '../../workflows/model/checks.ts';
import type { SnapshotId } from '../../workflows/model/snapshots.ts';
import type { Database } from '../contacts/database.ts';
import { readHighWater } from '../contacts/high-water.ts';
import type { Keyring } from '../settings.ts';
import { listIds, readReceipt, receiptIds, type Shelf } from './catalog.ts';
import { keepCheck } from './checks.ts';
import { KEEP_MS, type Link } from './generation.ts';
import { HeldGeneration, type GenerationWork } from './held-generation.ts';
import { compareIds, manifestKey, receiptKey, type SignedManifest } from './manifest.ts';
import { readManifest } from './open.ts';
import { forgetOpened, isRecent, readOpened } from './opened.ts';
import type { Vault } from './port.ts';
import { isDamage, Repairer } from './repair.ts';
import { findStrays } from './strays.ts';

export interface HeldRequest {
  /** This site's vault and database. */
  own: Vault;
  database: Database;
  site: string;
  customer: string;
  /** The other vault, with rights to read: what is damaged here may be whole there. Null when there is none. */
  peer: Vault | null;
  /** The sites whose snapshots lie here: this one and its peer. */
  sites: readonly string[];
  keys: Keyring;
  signingKey: KeyObject;
  publicKeys: ReadonlyMap<string, KeyObject>;
  heartbeat: (progress: { packs: number; bytes: number; damaged: number }) => void;
  signal: AbortSignal;
}

/** Lately enough: with a run each day, every byte is opened each day. */
const LATELY_MS = 12 * 3_600_000;

/**
 * Opens every byte of every snapshot in this vault that was not opened in the last 12 hours, those first that were not for
 * longest; mends from the other vault what does not open; and leaves for each site a signed check, which un-covers what
 * stays damaged. Killed, it goes on where it was. Damage is an answer, not a failure.
 */
export async function verifyHeld(request: HeldRequest): Promise<Check[]> {
  const { own, peer, publicKeys, signal } = request;
  const repairer = new Repairer({ own, peer, publicKeys, signal });
  const checks: Check[] = [];
  for (const of of request.sites) {
    const check = await new ShelfCheck(request, of, repairer).run();
    await keepCheck(own, request.signingKey, check, signal);
    checks.push(check);
  }
  return checks;
}

/** Stands for a manifest of which there is no version. */
const GONE = new Error('it is not there');

const damageOf = (id: SnapshotId, because: string): Damage => ({
  object: 'manifest',
  key: manifestKey(id),
  gen: id.gen,
  seqs: [id.seq],
  because,
});

/** The check of one site's snapshots. */
class ShelfCheck {
  private readonly request: HeldRequest;
  private readonly shelf: Shelf;
  private readonly repairer: Repairer;
  private readonly report: GenerationWork['report'] = { packs: 0, bytes: 0, counted: 0, damaged: [], repaired: [] };
  /** SHA-256 of each manifest that holds, and of the one that it says it follows. */
  private readonly manifests = new Map<number, { hash: string; previous: Link | null }>();

  /** Snapshots that are not here, and must be. */
  private readonly missing = new Set<number>();
  private readonly gens = new Map<number, number>();

  constructor(request: HeldRequest, of: string, repairer: Repairer) {
    const { own, customer, publicKeys, signal } = request;
    this.request = request;
    this.shelf = { vault: own, customer, site: of, publicKeys, signal };
    this.repairer = repairer;
  }

  async run(): Promise<Check> {
    const { own, database, site, customer, signal } = this.request;
    const { report } = this;
    const of = this.shelf.site;
    const startedAt = new Date().toISOString();
    const opened = await readOpened(database, customer, of);
    const recent = new Set(
      opened.flatMap((o) => (o.because === null && isRecent(o, LATELY_MS) ? [`${o.gen}/${o.sha256}`] : [])),
    );
    const ids = await this.expected();
    const age = (gen: number): number => {
      const ages = opened.flatMap((o) => (o.gen === gen ? [o.ageMs] : []));
      return ages.length === 0 ? Infinity : Math.max(...ages);
    };
    const gens = [...new Set(ids.map(({ gen }) => gen))].toSorted((a, b) => age(b) - age(a) || a - b);
    const heartbeat = (): void =>
      this.request.heartbeat({ packs: report.packs, bytes: report.bytes, damaged: report.damaged.length });
    for (const gen of gens) {
      const generation = new HeldGeneration({ customer, site: of, gen, seq: gen });
      for (const id of ids.filter((i) => i.gen === gen)) {
        const found = await this.soundManifest(id);
        if (found) generation.add(found.manifest);
        if (found) this.manifests.set(id.seq, { hash: found.summary.manifest, previous: found.manifest.previous });
        heartbeat();
      }
      await generation.open({
        ...this.request,
        repairer: this.repairer,
        recent: (g, sha256) => recent.has(`${g}/${sha256}`),
        stillHeld: (seqs) => this.stillHeld(gen, seqs),
        report,
        heartbeat,
      });
    }
    this.checkChain();
    if (of !== site) await this.checkReceipts();
    await forgetOpened(database, { customer, site: of }, gens);
    const strays = await findStrays(own, { customer, site: of }, signal);
    const snapshots = this.manifests.size;
    return {
      format: 1,
      customer,
      site,
      of,
      startedAt,
      endedAt: new Date().toISOString(),
      snapshots,
      ...report,
      strays,
    };
  }

  /** Snapshots that lie here, or must, oldest first. */
  private async expected(): Promise<SnapshotId[]> {
    const { request, shelf } = this;
    const ids = new Map((await listIds(shelf)).map((id) => [id.seq, id]));
    const seen = await readHighWater(request.database, shelf.customer, shelf.site);
    const others = shelf.site === request.site ? await this.copies() : await receiptIds(shelf, request.site);
    const newest = Math.max(0, ...ids.keys());
    const missing: SnapshotId[] = seen && seen.seq > newest ? [seen] : [];
    for (const id of others) if (!ids.has(id.seq) && (await this.mustBeHere(id))) missing.push(id);
    for (const id of missing) {
      this.missing.add(id.seq);
      ids.set(id.seq, id);
    }
    for (const { gen, seq } of ids.values()) this.gens.set(seq, gen);
    return [...ids.values()].toSorted(compareIds);
  }

  /** Own snapshots that the other vault holds. */
  private async copies(): Promise<SnapshotId[]> {
    const found = await this.repairer.ask((vault) => listIds({ ...this.shelf, vault }));
    return 'good' in found ? found.good : [];
  }

  /** A snapshot that is not here was either deleted when its time of keeping was over, or is lost. */
  private async mustBeHere(id: SnapshotId): Promise<boolean> {
    const point =
      this.shelf.site === this.request.site
        ? await this.repairer.ask(async (vault) => (await readManifest({ ...this.shelf, vault, id }))?.manifest.point)
        : { good: (await this.receiptOf(id))?.point };
    const at = 'good' in point && point.good !== undefined ? Date.parse(point.good) : 0;
    return Date.now() - at < KEEP_MS;
  }

  /** The manifest, mended when need be; null, and reported, when it cannot be. */
  private async soundManifest(id: SnapshotId): Promise<SignedManifest | null> {
    const found = await this.readOwn(id);
    if (!(found instanceof Error)) return found;
    // Listed, and gone since.
    if (found === GONE && !this.missing.has(id.seq) && !(await this.mustBeHere(id))) return null;
    const where = `vault ${this.request.own.site}: ${manifestKey(id)}`;
    const because = found === GONE ? `${where}: ${found.message}` : failureText(found);
    const mended = await this.repairer.manifest(id);
    if ('good' in mended && mended.good) {
      this.report.repaired.push(damageOf(id, because));
      return mended.good;
    }
    const why = 'because' in mended ? mended.because : 'the other vault does not have it';
    this.report.damaged.push(damageOf(id, `${because}; not mended: ${why}`));
    return null;
  }

  private async readOwn(id: SnapshotId): Promise<SignedManifest | Error> {
    try {
      return (await readManifest({ ...this.shelf, id })) ?? GONE;
    } catch (error) {
      if (isDamage(error)) return error;
      throw error;
    }
  }

  /** Each manifest must follow the one that it was linked to, where that is held. */
  private checkChain(): void {
    const { customer, site } = this.shelf;
    for (const [seq, { previous }] of this.manifests) {
      const before = previous && this.manifests.get(previous.seq);
      if (!before || before.hash === previous.manifest) continue;
      const gen = this.gens.get(seq) ?? seq;
      this.report.damaged.push(
        damageOf({ customer, site, gen, seq }, `it follows another manifest than number ${previous.seq}`),
      );
    }
  }

  /** Whether one of these snapshots is still there: what is deleted with its generation is no damage. */
  private async stillHeld(gen: number, seqs: readonly number[]): Promise<boolean> {
    const now = await listIds(this.shelf, gen);
    return now.some(({ seq }) => seqs.includes(seq));
  }

  /** This site's own receipts must still stand, for the manifests that lie here. */
  private async checkReceipts(): Promise<void> {
    const { site } = this.request;
    for (const id of await receiptIds(this.shelf, site)) {
      const key = receiptKey(site, id);
      const said = (because: string): void =>
        void this.report.damaged.push({ object: 'receipt', key, gen: id.gen, seqs: [id.seq], because });
      const manifest = this.manifests.get(id.seq);
      if (!manifest) continue; // Named already, or past its time.
      const receipt = await this.receiptOf(id);
      if (!receipt) said('no version of it is signed by this site for this snapshot');
      else if (receipt.manifest !== manifest.hash) said('it is for another manifest');
    }
  }

  private async receiptOf(id: SnapshotId): Promise<Awaited<ReturnType<typeof readReceipt>>> {
    try {
      return await readReceipt(this.shelf, this.request.site, id);
    } catch (error) {
      if (isDamage(error)) return null;
      throw error;
    }
  }
}
