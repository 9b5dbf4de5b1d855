import type { KeyObject } from 'node:crypto';
import { manifestKey, receiptKey, type Manifest } from '../../activities/vault/manifest.ts';
import type { S3Vault } from '../../activities/vault/s3.ts';
import { seal, sha256 } from '../../activities/vault/signed.ts';
import type { Receipt } from '../../workflows/model/snapshots.ts';
import { CUSTOMER, type World } from './world.ts';

interface Listed {
  seq: number;
  point: string;
  key?: KeyObject;
}

/** A snapshot of east as vaults list it: nothing here opens its packs. */
export async function listSnapshot(
  world: World,
  east: S3Vault,
  { seq, point, where, key = world.keys.east }: Listed & { where: ('east' | 'west')[] },
): Promise<string> {
  const counts = { users: 3, contacts: 0, groups: 0, lists: 0, aclItems: 0, defaults: 0 };
  const id = { customer: CUSTOMER, site: 'east', gen: 1, seq };
  const hash = 'f'.repeat(64);
  const read = { epoch: 1, point, clock: point, database: 'd', wal: '0/0', schema: hash, postgres: 18 };
  const held = { setHash: hash, counts, ownerless: 0, packs: [] };
  const manifest: Manifest = { ...id, format: 1, previous: null, base: { point, bytes: 0 }, ...read, ...held };
  const bytes = seal('manifest', 'east', key, manifest);
  if (where.includes('east')) await east.put(manifestKey(id), bytes);
  if (where.includes('west')) await world.west.vault.put(manifestKey(id), bytes);
  return sha256(bytes);
}

/** The same in both vaults, with west's receipt. */
export async function coverSnapshot(
  world: World,
  east: S3Vault,
  { seq, point, key = world.keys.west }: Listed,
): Promise<void> {
  const manifest = await listSnapshot(world, east, { seq, point, where: ['east', 'west'] });
  const id = { customer: CUSTOMER, site: 'east', gen: 1, seq };
  const counts = { users: 3, contacts: 0, groups: 0, lists: 0, aclItems: 0, defaults: 0 };
  const receipt: Receipt = { format: 1, snapshot: id, manifest, point, site: 'west', verifiedAt: point, counts };
  await world.west.vault.put(receiptKey('west', id), seal('receipt', 'west', key, receipt));
}
