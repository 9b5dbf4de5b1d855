import { createContinuityDataActivities } from '../activities/contacts/activities.ts';
import { createFailoverActivities } from '../activities/services/activities.ts';
import { nudgeStandby } from '../activities/services/nudge.ts';
import type { SiteSettings } from '../activities/settings.ts';
import type { SiteActivities } from '../activities/types.ts';
import { createSnapshotActivities, createStandbyActivities } from '../activities/vault/activities.ts';
import { createTestReceiptActivities } from '../activities/vault/test-activities.ts';

/** All that the workflows of one site may call, under the names that Temporal UI shows. */
export function siteActivities(settings: SiteSettings): SiteActivities {
  return {
    ...createSnapshotActivities(settings),
    'nudge-standby': ({ customer }) => nudgeStandby(settings, customer),
    ...createStandbyActivities(settings),
    ...createFailoverActivities(settings),
    ...createTestReceiptActivities(settings),
    ...createContinuityDataActivities(settings),
  };
}
