import type { SnapshotId } from '../../workflows/model/snapshots.ts';
import type { Running } from '../running.ts';
import type { SiteSettings } from '../settings.ts';
import type { ContinuityActivities } from '../test-types.ts';
import { openSnapshot } from '../vault/open.ts';
import type { UserRecord } from '../vault/record.ts';
import { aclFaults } from './acl.ts';
import { openBulk } from './bulk.ts';
import { compareScratch, restoreScratch, type ScratchServer, type ScratchWork } from './scratch.ts';

type DataActivities = Pick<ContinuityActivities, 'restore-scratch' | 'compare-scratch'>;

/** The data half of a continuity test: a scratch database beside the customer's own, from the vault of this site. */
export function createContinuityDataActivities(settings: SiteSettings, running: () => Running): DataActivities {
  const bulk = openBulk(settings);
  const server = (customer: string): ScratchServer => ({
    database: bulk.database(customer),
    url: bulk.customer(customer).databaseUrl,
  });
  const work = async (id: SnapshotId): Promise<ScratchWork> => {
    const { heartbeat, signal } = running();
    const { keys } = bulk.customer(id.customer);
    const opened = await openSnapshot({ vault: bulk.vault, keys, publicKeys: settings.publicKeys, id, signal });
    return { records: opened.records(), heartbeat, signal };
  };
  return {
    async 'restore-scratch'({ run, snapshot }) {
      return restoreScratch(server(snapshot.customer), run, await work(snapshot));
    },
    async 'compare-scratch'({ run, snapshot }) {
      const { records, ...rest } = await work(snapshot);
      const judged = { quarantined: 0 };
      const compared = await compareScratch(server(snapshot.customer), run, {
        records: judge(records, judged),
        ...rest,
      });
      return { ...compared, ...judged };
    },
  };
}

/** Counts those who would not be let in, as a restore judges them. */
async function* judge(records: AsyncIterable<UserRecord>, judged: { quarantined: number }): AsyncIterable<UserRecord> {
  for await (const record of records) {
    if (aclFaults(record).length > 0) judged.quarantined += 1;
    yield record;
  }
}
