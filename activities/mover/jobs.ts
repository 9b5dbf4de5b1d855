import { failure } from '../../workflows/model/failures.ts';
import type { StepInput, StepResult } from '../../workflows/model/moves.ts';
import type { SnapshotSummary } from '../../workflows/model/snapshots.ts';
import { reconcileArchive } from '../archive/act.ts';
import { createContinuityDataActivities } from '../contacts/activities.ts';
import { probeContacts } from '../probes/contacts.ts';
import type { Running } from '../running.ts';
import { copyAhead } from '../services/copy-ahead.ts';
import { reconcileContacts, salvageContacts } from '../services/reconcile.ts';
import { restoreContacts } from '../services/restore.ts';
import { servedFrom } from '../services/restored-here.ts';
import { plannedStep } from '../services/planned.ts';
import { openSite } from '../services/site.ts';
import type { SiteSettings } from '../settings.ts';
import type { SiteActivities } from '../types.ts';
import { createSnapshotActivities, createStandbyActivities } from '../vault/activities.ts';
import { createHeldActivities } from '../vault/held-activities.ts';
import { createRetentionActivities } from '../vault/retention-activities.ts';
import type { JobName } from './messages.ts';

/** The jobs themselves, as the data mover runs them. */
export function createJobs(settings: SiteSettings, running: () => Running): Pick<SiteActivities, JobName> {
  const site = openSite(settings);
  const scheduled = createSnapshotActivities(settings, running)['take-snapshot'];
  // One name for both: the act's word is that of the schedule's activity, which histories hold.
  const take = async (input: StepInput | Parameters<typeof scheduled>[0]): Promise<StepResult | SnapshotSummary> =>
    'key' in input ? copyAhead(site, await plannedStep(site, input), running()) : scheduled(input);
  return {
    'take-snapshot': take as SiteActivities['take-snapshot'],
    ...createStandbyActivities(settings, running, servedFrom),
    ...createHeldActivities(settings, running),
    ...createRetentionActivities(settings, running),
    ...createContinuityDataActivities(settings, running),
    'restore-contacts': async (input) => restoreContacts(site, await plannedStep(site, input), running()),
    'salvage-contacts': async (input) => salvageContacts(site, await plannedStep(site, input), running()),
    'reconcile-contacts': async (input) => reconcileContacts(site, await plannedStep(site, input), running()),
    'reconcile-archive': async (input) => reconcileArchive(site, await plannedStep(site, input), running()),
    async probe(input) {
      const planned = await plannedStep(site, input);
      const step = planned.plan.decisions.steps.find((s) => s.id === input.key.step);
      if (step?.service === 'contacts') return probeContacts(site, planned, running());
      throw failure('input-invalid', `step ${input.key.step}: there is no probe of ${step?.service ?? 'no service'}`);
    },
  };
}
