import type { Fate } from '../../workflows/model/retention.ts';
import { journalPlace, journalPrefix } from '../journal/objects.ts';
import { recordPrefix } from './customer-records.ts';
import { KEEP_MS } from './generation.ts';
import { sitePrefix } from './manifest.ts';
import { testPrefix } from './test-receipts.ts';

/**
 * What may leave a vault, and in which order: whole generations only (VAULT, rule 3), of which nothing is younger than
 * the time of keeping. Pure: what a vault holds goes in, what may go comes out.
 */

/** A version of a key, or a delete marker, as a vault lists it. */
export interface Version {
  key: string;
  id: string | undefined;
  bytes: number;
  /** When it was written, by the vault's clock. */
  at: number;
  marker: boolean;
}

/** Whose vault it is, and whose snapshots lie in it. */
export interface Owner {
  customer: string;
  site: string;
  sites: readonly string[];
}

/** What a key stands for. Of a generation are its manifests, packs and this site's receipts for it. */
export type Place =
  | { kind: 'manifest' | 'receipt'; source: string; gen: number; seq: number }
  | { kind: 'pack'; source: string; gen: number }
  /** Of a journal of the other site, which has its own. */
  | { kind: 'journal'; source: string; move: string }
  /** What was salvaged of this site's own disk. */
  | { kind: 'salvage'; source: string; epoch: number }
  /** Claims, own journals and reports, test receipts and the customer's own records of both sites, and what operators have signed: later snapshots may count by that. */
  | { kind: 'evidence' }
  | { kind: 'unknown' };

export function placeOf(key: string, { customer, site, sites }: Owner): Place {
  if (key.startsWith(`${customer}/epochs/`)) return { kind: 'evidence' };
  const own = sitePrefix(customer, site);
  const evidence = ['journal/', 'tests/', 'accepted/', 'checks/', 'customer/'];
  if (evidence.some((folder) => key.startsWith(own + folder))) return { kind: 'evidence' };
  const salvage = key.startsWith(own) ? salvageName.exec(key.slice(own.length)) : null;
  if (salvage) return { kind: 'salvage', source: site, epoch: Number(salvage[1]) };
  const source = sites.find((name) => key.startsWith(sitePrefix(customer, name)));
  const copied = source === undefined ? [] : [testPrefix(customer, source), recordPrefix(customer, source)];
  if (copied.some((prefix) => key.startsWith(prefix))) return { kind: 'evidence' };
  const journal = source === undefined ? null : journalPlace(key.slice(journalPrefix(customer, source).length));
  if (source !== undefined && journal && key.startsWith(journalPrefix(customer, source)))
    return { kind: 'journal', source, move: journal.move };
  const rest = source === undefined ? '' : key.slice(sitePrefix(customer, source).length);
  const receipt = source === site ? /^receipts\/([^/]+)\/(\d{10})-(\d{10})\.json$/.exec(rest) : null;
  if (receipt?.[1] !== undefined && sites.includes(receipt[1]))
    return { kind: 'receipt', source: receipt[1], gen: Number(receipt[2]), seq: Number(receipt[3]) };
  const manifest = /^(\d{10})\/m\/(\d{10})\.json$/.exec(rest);
  if (source !== undefined && manifest)
    return { kind: 'manifest', source, gen: Number(manifest[1]), seq: Number(manifest[2]) };
  const pack = /^(\d{10})\/packs\/[0-9a-f]{64}$/.exec(rest);
  if (source !== undefined && pack) return { kind: 'pack', source, gen: Number(pack[1]) };
  return { kind: 'unknown' };
}

const salvageName = /^salvage\/(\d{10})\/(?:salvage\.json|packs\/[0-9a-f]{64})$/;

/** What a vault holds of one generation. */
export interface Generation {
  gen: number;
  /** When the youngest version of each manifest was written, by seq. */
  manifests: Map<number, number>;
  packs: number;
  objects: number;
  bytes: number;
  /** When the youngest of all its versions was written. */
  youngest: number;
}

/** What a vault holds of one site's snapshots. */
export interface Shelved {
  generations: Map<number, Generation>;
  /** The generation of the newest snapshot that has a receipt, and its number. */
  receipt: { gen: number; seq: number } | null;
}

/** Counts the versions of a vault as they are listed: nothing is kept of a single one. */
export class Survey {
  readonly sources: ReadonlyMap<string, Shelved>;
  /** Copies of the other sites' journals, by the prefix of their move: when the youngest version of each was written. */
  readonly journals = new Map<string, number>();
  /** Salvages of this site, by their epoch: when the youngest version of each was written. */
  readonly salvages = new Map<number, number>();
  unknown = 0;
  private readonly owner: Owner;
  private lastPack = '';

  constructor(owner: Owner) {
    this.owner = owner;
    this.sources = new Map(owner.sites.map((site) => [site, { generations: new Map(), receipt: null }]));
  }

  add(version: Version): void {
    const place = placeOf(version.key, this.owner);
    if (place.kind === 'unknown') this.unknown += 1;
    if (place.kind === 'unknown' || place.kind === 'evidence') return;
    if (place.kind === 'journal') {
      const prefix = `${journalPrefix(this.owner.customer, place.source)}${place.move}/`;
      this.journals.set(prefix, Math.max(version.at, this.journals.get(prefix) ?? 0));
      return;
    }
    if (place.kind === 'salvage') {
      this.salvages.set(place.epoch, Math.max(version.at, this.salvages.get(place.epoch) ?? 0));
      return;
    }
    const shelved = this.sources.get(place.source);
    if (!shelved) return;
    const { gen } = place;
    const empty = { gen, manifests: new Map(), packs: 0, objects: 0, bytes: 0, youngest: 0 };
    const generation: Generation = shelved.generations.get(gen) ?? empty;
    shelved.generations.set(gen, generation);
    generation.objects += 1;
    generation.bytes += version.bytes;
    generation.youngest = Math.max(generation.youngest, version.at);
    if (place.kind === 'manifest')
      generation.manifests.set(place.seq, Math.max(version.at, generation.manifests.get(place.seq) ?? 0));
    if (place.kind === 'receipt' && place.seq > (shelved.receipt?.seq ?? -1)) shelved.receipt = place;
    // Versions of one key stand together.
    if (place.kind === 'pack' && !version.marker && this.lastPack !== version.key) {
      generation.packs += 1;
      this.lastPack = version.key;
    }
  }
}

/** What decides about the generations of one site, beside their age. */
export interface Facts {
  now: number;
  /**
   * The newest generation that has a signed manifest which has stood for a day: a run that began before it has ended, so
   * nobody adds to an older one any more. Null when there is none.
   */
  settled: number | null;
  /** Generations that are needed at any age, and for what. */
  pins: ReadonlyMap<number, string>;
  /** A live move of the customer. */
  heldBy: string | null;
}

const DAY_MS = 24 * 3_600_000;
export const SETTLE_MS = DAY_MS;

/** What may become of a generation, before its locks are asked. */
export function judge(
  { gen, youngest }: Pick<Generation, 'gen' | 'youngest'>,
  { now, settled, pins, heldBy }: Facts,
): { fate: Exclude<Fate, 'locked' | 'deleted'>; because: string } {
  if (settled === null || gen >= settled)
    return { fate: 'kept', because: 'no newer one has stood for a day with a manifest that holds' };
  const days = Math.floor((now - youngest) / DAY_MS);
  if (now - youngest <= KEEP_MS)
    return { fate: 'kept', because: `its youngest part is ${days} days old, kept are ${KEEP_MS / DAY_MS}` };
  const pin = pins.get(gen);
  if (pin !== undefined) return { fate: 'pinned', because: pin };
  if (heldBy !== null) return { fate: 'pinned', because: `move ${heldBy} is live` };
  return { fate: 'expired', because: `its youngest part is ${days} days old, and generation ${settled} stands` };
}

/**
 * The order in which a generation goes. The next part begins when nothing is left of the one before: whatever ends a run,
 * it leaves packs that no manifest names, and never a listed snapshot that lacks one.
 */
export function partsOf(versions: readonly Version[], owner: Owner): Version[][] {
  const of = (kind: Place['kind']): Version[] => versions.filter(({ key }) => placeOf(key, owner).kind === kind);
  return [of('manifest'), of('receipt'), of('pack')];
}
