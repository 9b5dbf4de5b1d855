import { createArchiveActivities } from '../activities/archive/activities.ts';
import { createMovedActivities } from '../activities/mover/mover.ts';
import { running } from '../activities/running.ts';
import { createFailoverActivities } from '../activities/services/activities.ts';
import { nudgeStandby } from '../activities/services/nudge.ts';
import { createTestActivities } from '../activities/services/test-activities.ts';
import { createWatchActivities, Watchers } from '../activities/probes/watch/watchers.ts';
import type { SiteSettings } from '../activities/settings.ts';
import type { SiteActivities } from '../activities/types.ts';

/**
 * All that the workflows of one site may call, under the names that Temporal UI shows. `watchers`: what the loop in this
 * process sees; left out: nobody looks here.
 */
export function siteActivities(
  settings: SiteSettings,
  moved = createMovedActivities(settings, running),
  watchers = new Watchers(),
): SiteActivities {
  return {
    ...moved,
    'nudge-standby': ({ customer }) => nudgeStandby(settings, customer),
    ...createFailoverActivities(settings, moved),
    ...createArchiveActivities(settings, running),
    ...createTestActivities(settings),
    ...createWatchActivities(watchers, () => running().signal),
  };
}
