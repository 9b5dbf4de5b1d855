import { createHash } from 'node:crypto';
import type { PoolClient } from 'pg';
import type { RecoverySource } from '../../workflows/model/plan.ts';
import { canonicalJson } from '../../workflows/model/plan.ts';
import type { SnapshotId, Timestamp } from '../../workflows/model/snapshots.ts';
import { ID_BYTES } from '../vault/macs.ts';
import { Mismatch } from './mismatch.ts';

/**
 * The recovery ledger of a move: what each user of the lost half got. Users stand in it as the HMAC of their names under
 * the customer's key, and with nothing of their data, so that it needs no further seal to be kept by both sites and handed
 * out with the evidence: who has not the key learns how many there are, and no more than the plan's counts tell.
 */

/**
 * `as-of`: as the snapshot has him. `no-snapshot`: no snapshot has him, and nothing of his stands here. `held`: rows of his
 * stand here that did not come with it, and were left. `quarantined`: not let in until an operator decides, whatever he
 * has. `unproven`: he came with it, and nobody can tell whether he was changed since. A ledger has their places here.
 */
export const fates = ['as-of', 'no-snapshot', 'quarantined', 'held', 'unproven'] as const;
export type UserFate = (typeof fates)[number];

/** The user's key, and the place of his fate in `fates`. */
const ENTRY_BYTES = ID_BYTES + 1;
/** Under half a megabyte as JSON. */
const PART_USERS = 20_000;

interface LedgerHead {
  format: 1;
  customer: string;
  move: string;
  /** Who wrote it: the survivor. */
  site: string;
  /** The lost site, whose half it is. */
  from: string;
  /** Under which key of the customer its users stand. */
  keyId: string;
  source: RecoverySource['from'];
  snapshot: SnapshotId;
  /** What those are as of who are. */
  point: Timestamp;
  users: number;
  fates: Record<UserFate, number>;
}

/** One object of a ledger: some of its users, in the order of their keys. */
export interface LedgerPart extends LedgerHead {
  /** SHA-256 over the canonical JSON of the head, a line feed, and the entries of all parts, hex. The journal names it. */
  ledger: string;
  /** From 1. */
  part: number;
  /** Base64. */
  entries: string;
}

export interface Ledger {
  digest: string;
  parts: LedgerPart[];
}

/** The snapshot that a restore took, and its recovery point. */
export interface AsOf {
  snapshot: SnapshotId;
  point: Timestamp;
}

type About = Omit<LedgerHead, 'format' | 'users' | 'fates' | keyof AsOf> & { asOf: AsOf };

/** Takes users one by one, in any order: 17 bytes for each are all that it keeps. */
export class LedgerBuilder {
  private bytes = Buffer.alloc(1024 * ENTRY_BYTES);
  private users = 0;
  private readonly userKey: (name: Uint8Array | string) => Buffer;

  constructor(userKey: (name: Uint8Array | string) => Buffer) {
    this.userKey = userKey;
  }

  add(name: Uint8Array | string, fate: UserFate): void {
    const at = this.users * ENTRY_BYTES;
    if (at === this.bytes.length) this.bytes = Buffer.concat([this.bytes, Buffer.alloc(at)]);
    this.userKey(name).copy(this.bytes, at);
    this.bytes.writeUInt8(fates.indexOf(fate), at + ID_BYTES);
    this.users += 1;
  }

  /** `quarantined`: the names of those who are, whatever was said of them. */
  finish({ asOf, ...about }: About, quarantined: Iterable<string>): Ledger {
    const held = new Set([...quarantined].map((name) => this.userKey(name).toString('hex')));
    const { bytes, users } = this;
    const keyAt = (i: number): Buffer => bytes.subarray(i * ENTRY_BYTES, i * ENTRY_BYTES + ID_BYTES);
    const order = Uint32Array.from({ length: users }, (_, i) => i).toSorted((a, b) => keyAt(a).compare(keyAt(b)));
    const sorted = Buffer.alloc(users * ENTRY_BYTES);
    for (const [to, i] of order.entries()) {
      bytes.copy(sorted, to * ENTRY_BYTES, i * ENTRY_BYTES, (i + 1) * ENTRY_BYTES);
      if (held.size > 0 && held.has(keyAt(i).toString('hex')))
        sorted.writeUInt8(fates.indexOf('quarantined'), to * ENTRY_BYTES + ID_BYTES);
    }
    const { customer, site, gen, seq } = asOf.snapshot;
    const snapshot = { customer, site, gen, seq };
    const counts = countFates(sorted);
    const head: LedgerHead = { format: 1, ...about, snapshot, point: asOf.point, users, fates: counts };
    const digest = digestOf(head, [sorted]);
    const parts: LedgerPart[] = [];
    for (let first = 0; first === 0 || first < users; first += PART_USERS) {
      const entries = sorted.subarray(first * ENTRY_BYTES, (first + PART_USERS) * ENTRY_BYTES).toString('base64');
      parts.push({ ...head, ledger: digest, part: parts.length + 1, entries });
    }
    return { digest, parts };
  }
}

function countFates(entries: Buffer): Record<UserFate, number> {
  const counts = { 'as-of': 0, 'no-snapshot': 0, quarantined: 0, held: 0, unproven: 0 };
  for (let at = ID_BYTES; at < entries.length; at += ENTRY_BYTES) {
    const fate = fates[entries.readUInt8(at)];
    if (fate === undefined) throw new Mismatch(`the ledger has a fate ${entries.readUInt8(at)}, which is not known`);
    counts[fate] += 1;
  }
  return counts;
}

function digestOf(head: LedgerHead, entries: Buffer[]): string {
  const hash = createHash('sha256').update(`${canonicalJson(head)}\n`);
  for (const bytes of entries) hash.update(bytes);
  return hash.digest('hex');
}

function headOf({ ledger: _digest, part: _part, entries: _entries, ...head }: LedgerPart): LedgerHead {
  return head;
}

/** Keeps a ledger in the transaction of the line that names it; the mirror brings it to the vault. */
export async function keepLedger(client: PoolClient, { digest, parts }: Ledger): Promise<void> {
  for (const part of parts)
    await client.query(
      `insert into tandem.recovery (move, ledger, part, document) values ($1, $2, $3, $4) on conflict do nothing`,
      [part.move, digest, part.part, canonicalJson(part)],
    );
}

/** The users of these halves who wait in quarantine here, by name. */
export async function quarantinedOf(client: Pick<PoolClient, 'query'>, halves: readonly string[]): Promise<string[]> {
  const { rows } = await client.query<{ username: string }>(
    `select username from tandem.quarantine join tandem.home using (username) where site = any($1) and release is null`,
    [halves],
  );
  return rows.map(({ username }) => username);
}

/**
 * One whole ledger out of parts, judged by the digest that the journal names; a Mismatch tells what is missing or was
 * changed. Answers its head and how many users it has.
 */
export function judgeLedger(digest: string, all: readonly LedgerPart[]): { head: LedgerHead; entries: Buffer[] } {
  const parts = all.filter((p) => p.ledger === digest).toSorted((a, b) => a.part - b.part);
  const [first] = parts;
  if (!first) throw new Mismatch(`ledger ${digest}, which the journal names, is missing`);
  const head = headOf(first);
  for (const [i, part] of parts.entries()) {
    if (part.part !== i + 1) throw new Mismatch(`part ${i + 1} of the ledger is missing`);
    if (canonicalJson(headOf(part)) !== canonicalJson(head)) throw new Mismatch(`part ${i + 1} is of another ledger`);
  }
  const entries = parts.map((p) => Buffer.from(p.entries, 'base64'));
  const bytes = entries.reduce((sum, { length }) => sum + length, 0);
  if (bytes !== head.users * ENTRY_BYTES)
    throw new Mismatch(`the ledger has ${bytes / ENTRY_BYTES} users, and says ${head.users}`);
  if (digestOf(head, entries) !== digest) throw new Mismatch('the ledger is not the one that the journal names');
  const counted = countFates(Buffer.concat(entries));
  if (canonicalJson(counted) !== canonicalJson(head.fates)) throw new Mismatch('the ledger’s counts are not its own');
  return { head, entries };
}

/** What became of one user; null when he is not of the half. */
export function fateOf(entries: readonly Buffer[], userKey: Buffer): UserFate | null {
  for (const bytes of entries)
    for (let at = 0; at < bytes.length; at += ENTRY_BYTES)
      if (bytes.compare(userKey, 0, ID_BYTES, at, at + ID_BYTES) === 0)
        return fates[bytes.readUInt8(at + ID_BYTES)] ?? null;
  return null;
}
