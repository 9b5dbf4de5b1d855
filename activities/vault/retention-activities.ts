import type { RetentionResult } from '../../workflows/model/retention.ts';
import { openBulk } from '../contacts/bulk.ts';
import type { Running } from '../running.ts';
import type { SiteSettings } from '../settings.ts';
import type { RetentionActivities } from '../types.ts';
import { forgetDifferences } from '../contacts/reconcile.ts';
import { Cleaner } from './cleaner.ts';
import { deleteExpired } from './delete-expired.ts';
import { KEEP_MS } from './generation.ts';
import { S3Vault } from './s3.ts';

/** The only users of the credentials that delete. */
export function createRetentionActivities(settings: SiteSettings, running: () => Running): RetentionActivities {
  const { site, publicKeys } = settings;
  const bulk = openBulk(settings);
  return {
    async 'delete-expired'({ customer, dryRun = false }) {
      const { sites, peer } = bulk.customer(customer);
      const mode: RetentionResult['mode'] = dryRun ? 'dry-run' : settings.cleaner ? 'delete' : 'no-cleaner';
      // Who only looks could not delete if he tried.
      const cleaner = new Cleaner((mode === 'delete' && settings.cleaner) || settings.vault);
      const access = settings.peerVaults.get(peer);
      const theirs = access ? new S3Vault(access) : null;
      try {
        if (mode === 'delete') await forgetDifferences(bulk.database(customer), KEEP_MS);
        return await deleteExpired({
          mode,
          cleaner,
          vault: bulk.vault,
          peer: theirs,
          database: bulk.database(customer),
          customer,
          site,
          sites,
          publicKeys,
          ...running(),
        });
      } finally {
        cleaner.close();
        theirs?.close();
      }
    },
  };
}
