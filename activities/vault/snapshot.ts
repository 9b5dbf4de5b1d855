import type { KeyObject } from 'node:crypto';
import { failure, failureKind } from '../../workflows/model/failures.ts';
import type { SnapshotSummary } from '../../workflows/model/snapshots.ts';
import type { Database } from '../contacts/database.ts';
import { digestsOf } from '../contacts/digests.ts';
import type { Horizon } from '../contacts/horizon.ts';
import { readHighWater, raiseHighWater } from '../contacts/high-water.ts';
import { moveLedger, type LedgerChange } from '../contacts/ledger.ts';
import { readServed, type Reading, type ReadUsers } from '../contacts/reader.ts';
import { Column } from '../contacts/users.ts';
import type { Keyring } from '../settings.ts';
import { listIds, newestSnapshot, type Shelf } from './catalog.ts';
import type { PackRecord } from './frames.ts';
import { DAMAGED, LOCK_MS, linkTo, nextStep, type Step } from './generation.ts';
import { keyOf, recordKeys, type RecordKeys } from './keys.ts';
import {
  MANIFEST_FORMAT,
  chooseManifest,
  manifestKey,
  summarise,
  type Manifest,
  type SignedManifest,
} from './manifest.ts';
import { anyDamaged } from './opened.ts';
import { storePacks } from './pack-store.ts';
import type { PackRef } from './pack-reader.ts';
import type { Vault } from './port.ts';
import { SetHash } from './set-hash.ts';
import { SnapshotIndex } from './snapshot-index.ts';
import { seal } from './signed.ts';

export interface SnapshotRequest {
  vault: Vault;
  database: Database;
  customer: string;
  site: string;
  keys: Keyring;
  signingKey: KeyObject;
  publicKeys: ReadonlyMap<string, KeyObject>;
  /** `all` reads every row and so checks the ledger; `changes` trusts the digests in it, `new-rows` also what is said of rows that are not new. */
  read: 'all' | 'changes' | 'new-rows';
  maxAgeMs: number;
  heartbeat: (progress: { users: number; packs: number; bytes: number }) => void;
  signal: AbortSignal;
}

/** A read transaction never lasts longer, whatever the customer's budget is (VAULT, "Snapshot"). */
export const MAX_AGE_MS = 600_000;
const ID_BYTES = 16;

/**
 * Takes a snapshot of all users served here into this site's own vault: a base, or what has changed upon the one before
 * it. The manifest comes last and only when its number is free: an attempt that ends before leaves packs that nothing
 * refers to. `snapshot-superseded` when another run has written the number first.
 */
export async function takeSnapshot(request: SnapshotRequest): Promise<SnapshotSummary> {
  const { database, vault, customer, site, keys } = request;
  const recordIds = recordKeys(keyOf(keys, keys.current, `snapshot of ${customer}`));

  const { number, last } = await nextNumber(request);
  const damaged = last !== null && (await anyDamaged(database, last.manifest));
  const maxAgeMs = Math.min(request.maxAgeMs, MAX_AGE_MS);
  const stored = await readServed({ ...request, maxAgeMs }, async (reading) => {
    const clock = new Date().toISOString();
    let step = nextStep(last, reading.head, keys.current, Date.parse(clock), damaged);
    const index = step.base || request.read !== 'all' ? null : await indexOf(request, step.upon, reading.signal);
    if (index === 'damaged') step = { base: true, because: DAMAGED };
    const some = (): Promise<ReadUsers> => (request.read === 'new-rows' ? reading.changedLately() : reading.changed());
    const read = step.base || index ? await reading.all() : await some();
    const draft = new Draft(step, read, index === 'damaged' ? null : index, recordIds);
    const gen = step.base ? number : step.upon.gen;
    const packs = await storePacks({
      ...request,
      place: { customer, site, gen },
      records: draft.records(),
      gone: () => draft.gone(),
      epoch: reading.point.epoch,
      signal: reading.signal,
    });
    const manifest = makeManifest({ customer, site, gen, seq: number }, { last, step, reading, clock, packs, draft });
    return { manifest, draft, horizon: horizonOf(reading, read), postgres: reading.point.postgres };
  });

  const { manifest, draft, horizon } = stored;
  const bytes = seal('manifest', site, request.signingKey, manifest);
  await commit(vault, manifest, bytes, request);

  const summary = summarise(manifest, bytes);
  const { tag } = digestsOf(keys, stored.postgres);
  await moveLedger(database, { ...draft.ledger(), horizon, snapshot: summary, tag });

  await raiseHighWater(database, manifest);
  return summary;
}

/** Who is in the last snapshot; damaged, it is nothing to build upon. */
async function indexOf(
  { vault, keys }: SnapshotRequest,
  upon: Manifest,
  signal: AbortSignal,
): Promise<SnapshotIndex | 'damaged'> {
  try {
    return await SnapshotIndex.load(vault, upon, keys, signal);
  } catch (error) {
    if (failureKind(error) === 'snapshot-damaged') return 'damaged';
    throw error;
  }
}

/** One more than the newest number anybody has seen: the vault, or the database, which may remember more. */
async function nextNumber(request: SnapshotRequest): Promise<{ number: number; last: SignedManifest | null }> {
  const { vault, customer, site, publicKeys, signal } = request;
  const shelf: Shelf = { vault, customer, site, publicKeys, signal };
  const highWater = await readHighWater(request.database, customer, site);
  const ids = await listIds(shelf, highWater?.gen);
  const since = ids.length > 0 ? highWater?.gen : 0;
  const last = await newestSnapshot(shelf, since);
  const number = Math.max(ids[0]?.seq ?? 0, last?.manifest.seq ?? 0, highWater?.seq ?? 0) + 1;
  return { number, last };
}

/** What a snapshot adds to what the vault holds, collected while the records go by. */
class Draft {
  readonly set: SetHash;
  private readonly read: ReadUsers;
  private readonly recordIds = new Column(ID_BYTES);
  /** What the vault's last snapshot says of a user; his place in it is marked as seen. */
  private readonly stored: (user: number, userKey: Buffer) => Buffer | null;
  private readonly forgotten: () => Buffer[];

  /** `index`: of the last snapshot, when all users are read: what the vault holds counts more than what the ledger says. */
  constructor(step: Step, read: ReadUsers, index: SnapshotIndex | null, keys: RecordKeys) {
    this.read = read;
    this.set = new SetHash(step.base || index ? undefined : step.upon.setHash);
    if (index) {
      const seen = new Set<number>();
      this.stored = (_user, userKey) => {
        const there = index.find(userKey);
        seen.add(there);
        return there < 0 ? null : index.recordId(there);
      };
      this.forgotten = () => [...index.numbers()].filter((n) => !seen.has(n)).map((n) => Buffer.from(index.userKey(n)));
    } else if (step.base) {
      this.stored = () => null;
      this.forgotten = () => [];
    } else {
      this.stored = (user, userKey) => {
        const known = read.known.get(user);
        if (known) this.set.remove(userKey, known);
        return known;
      };
      const gone = read.gone.map(({ username, recordId }) => ({ userKey: keys.userKey(username), recordId }));
      for (const { userKey, recordId } of gone) this.set.remove(userKey, recordId);
      this.forgotten = () => gone.map(({ userKey }) => userKey);
    }
  }

  /** The records that go into packs: those that the vault does not hold as they are now. */
  async *records(): AsyncGenerator<PackRecord> {
    for await (const { user, record } of this.read.records) {
      const { userKey, recordId } = record;
      this.recordIds.set(user, recordId);
      const stored = this.stored(user, userKey);
      this.set.add(userKey, recordId);
      if (!stored?.equals(recordId)) yield record;
    }
  }

  /** userKeys of users whom the vault holds and who are gone. To be asked for when all records went by. */
  gone(): Buffer[] {
    return this.forgotten();
  }

  ledger(): Pick<LedgerChange, 'users' | 'changed' | 'recordIds' | 'digests' | 'rowCounts' | 'gone'> {
    const { users, digests, rowCounts, gone } = this.read;
    return { users, changed: this.changed(), recordIds: this.recordIds, digests, rowCounts, gone };
  }

  counts(): Manifest['counts'] {
    return this.read.counts;
  }

  /** Users of whom the ledger says something else. */
  private *changed(): Generator<number> {
    const { users, known, knownDigests, digests, knownRowCounts, rowCounts } = this.read;
    const same = (a: Buffer | null, b: Buffer | null): boolean => a !== null && b !== null && a.equals(b);
    for (let user = 0; user < users.length; user += 1) {
      const sameRecord = same(known.get(user), this.recordIds.get(user));
      const sameRows = same(knownRowCounts.get(user), rowCounts.get(user));
      if (!sameRecord || !sameRows || !same(knownDigests.get(user), digests.get(user))) yield user;
    }
  }
}

/** Of a reading that has ended. */
const horizonOf = ({ moment }: Reading, { allRows }: ReadUsers): Horizon | null =>
  moment && allRows && { xmin: moment.xmin.toString(), server: moment.server, all: allRows };

function makeManifest(
  id: Pick<Manifest, 'customer' | 'site' | 'gen' | 'seq'>,
  made: {
    last: SignedManifest | null;
    step: Step;
    reading: Reading;
    clock: string;
    packs: PackRef[];
    draft: Draft;
  },
): Manifest {
  const { last, step, reading, clock, packs, draft } = made;
  const { epoch, point, database, wal, schema, postgres, ownerless } = reading.point;
  const bytes = packs.reduce((sum, pack) => sum + pack.bytes, 0);
  return {
    format: MANIFEST_FORMAT,
    ...id,
    previous: last && linkTo(last),
    base: step.base ? { point, bytes } : step.upon.base,
    epoch,
    point,
    clock,
    database,
    wal,
    schema,
    postgres,
    setHash: draft.set.toString(),
    counts: draft.counts(),
    ownerless,
    packs: step.base ? packs : [...packs, ...step.upon.packs],
  };
}

/** The commit point. Read back: on some servers a key whose newest version is a delete marker counts as free. */
async function commit(vault: Vault, manifest: Manifest, bytes: Buffer, request: SnapshotRequest): Promise<void> {
  const { publicKeys, signal } = request;
  const key = manifestKey(manifest);
  const where = `vault ${vault.site}: ${key}`;
  const result = await vault.put(key, bytes, { lockUntil: new Date(Date.now() + LOCK_MS), signal });
  const first = chooseManifest(await vault.versions(key, { signal }), manifest, publicKeys, where);
  if (result === 'taken' || !first?.bytes.equals(bytes)) {
    throw failure('snapshot-superseded', `${where}: another run has written it`);
  }
}
