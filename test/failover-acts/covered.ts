import { pullSnapshots } from '../../activities/vault/pull.ts';
import type { S3Vault } from '../../activities/vault/s3.ts';
import { takeSnapshot } from '../../activities/vault/snapshot.ts';
import { verifySnapshot } from '../../activities/vault/verify.ts';
import type { SnapshotSummary } from '../../workflows/model/snapshots.ts';
import { CUSTOMER, type World } from './world.ts';

export const work = { heartbeat: () => undefined, signal: new AbortController().signal };

export const contact = (who: string, jid: string): string =>
  `insert into rosterusers (username, jid, nick, subscription, ask, askmessage, server, subscribe, type)
   values ('${who}', '${jid}', 'nick', 'B', 'N', '', 'N', '', 'item')`;

/** A snapshot of east in its own vault, covered by west: the way it is in quiet times. */
export async function coverEast(world: World, vault: S3Vault, covered = true): Promise<SnapshotSummary> {
  const { publicKeys } = world.settings;
  const { keys } = world.customer;
  const common = { customer: CUSTOMER, keys, publicKeys, ...work };
  const source = { vault, database: world.eastDb, site: 'east', signingKey: world.keys.east };
  const taken = await takeSnapshot({ ...common, ...source, read: 'all', maxAgeMs: 60_000 });
  if (!covered) return taken;
  const [own, database] = [world.west.vault, world.westDb];
  await pullSnapshots({ ...common, own, peer: vault, database, site: 'west' });
  await verifySnapshot({ ...common, vault: own, database, site: 'west', id: taken, signingKey: world.keys.west });
  return taken;
}
