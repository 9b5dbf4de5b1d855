import type { PoolClient } from 'pg';
import type { SnapshotSummary } from '../../workflows/model/snapshots.ts';
import type { Keyring } from '../settings.ts';
import { packRecord, type PackRecord } from '../vault/frames.ts';
import { keyOf, recordKeys } from '../vault/keys.ts';
import { buildPacks } from '../vault/pack-writer.ts';
import type { UserRecord } from '../vault/record.ts';

export interface ConflictsOf {
  /** This site. */
  site: string;
  keys: Keyring;
  /** What takes their place. */
  snapshot: SnapshotSummary;
}

/** Keeps local versions aside, each sealed as a pack of generation 0 with one record. */
export async function saveConflicts(
  client: PoolClient,
  { site, keys, snapshot }: ConflictsOf,
  locals: UserRecord[],
): Promise<void> {
  const because = `not what the ledger says; replaced by snapshot ${snapshot.seq} of ${snapshot.site}`;
  const place = { customer: snapshot.customer, site, gen: 0 };
  const macs = recordKeys(keyOf(keys, keys.current, 'conflicts'));
  for (const local of locals) {
    for await (const { bytes } of buildPacks(one(packRecord(local, macs)), keys, place, snapshot.epoch)) {
      await client.query('insert into tandem.conflict (username, record, because) values ($1, $2, $3)', [
        local.username,
        bytes,
        because,
      ]);
    }
  }
}

async function* one(record: PackRecord): AsyncGenerator<PackRecord> {
  yield await Promise.resolve(record);
}
