import type { KeyObject } from 'node:crypto';
import { failure, failureKind } from '../../workflows/model/failures.ts';
import type { Vault } from '../vault/port.ts';
import { EVIDENCE_MS, journalPlace, journalPrefix, oldestObject, type JournalPlace } from './objects.ts';

/** The journal of a month, held at a step each minute, is smaller: what is larger is not read. */
const MOST_BYTES = 16 << 20;

export interface JournalPull {
  own: Vault;
  /** The peer's vault, with rights to read. */
  peer: Vault;
  customer: string;
  publicKeys: ReadonlyMap<string, KeyObject>;
  alive: () => void;
  signal: AbortSignal;
}

/**
 * Copies what is new in the peer's journals into this vault, byte for byte under the same keys, locked. Only what the
 * peer has signed for this very key is stored; what it has not is answered as a fault, and stops nothing else. What the
 * peer wrote longer ago than evidence is kept is left there.
 */
export async function pullJournals(request: JournalPull): Promise<Error[]> {
  const { own, peer, customer, alive, signal } = request;
  const prefix = journalPrefix(customer, peer.site);
  const faults: Error[] = [];
  const there: { key: string; place: JournalPlace; bytes: number }[] = [];
  for await (const { key, bytes, at } of peer.list(prefix, { signal })) {
    const place = journalPlace(key.slice(prefix.length));
    if (place && Date.now() - at <= EVIDENCE_MS) there.push({ key, place, bytes });
  }
  if (there.length === 0) return faults;
  const held = new Set<string>();
  for await (const { key } of own.list(prefix, { signal })) held.add(key);
  for (const { key, place, bytes } of there) {
    if (held.has(key)) continue;
    signal.throwIfAborted();
    try {
      await copyObject(request, key, place, bytes);
    } catch (error) {
      if (failureKind(error) !== 'signature-invalid') throw error;
      faults.push(error as Error);
    }
    alive();
  }
  return faults;
}

async function copyObject(
  { own, peer, customer, publicKeys, signal }: JournalPull,
  key: string,
  place: JournalPlace,
  bytes: number,
): Promise<void> {
  const where = `vault ${peer.site}: ${key}`;
  if (bytes > MOST_BYTES)
    throw failure('signature-invalid', `${where}: ${bytes} bytes, limit ${MOST_BYTES}: it was not read`);
  const found = oldestObject(
    { customer, site: peer.site, publicKeys },
    place,
    await peer.versions(key, { signal }),
    where,
  );
  if (!found) return;
  // Not there a moment ago: what is `taken` was put by another pull, which checked it as this one does.
  await own.put(key, found.bytes, { lockUntil: new Date(Date.now() + EVIDENCE_MS), signal });
}
