import { failure } from '../../workflows/model/failures.ts';
import { closeMove } from '../journal/close.ts';
import { claimMove, writeJournal } from '../journal/moves.ts';
import { probeContacts } from '../probes/contacts.ts';
import type { SiteSettings } from '../settings.ts';
import type { FailoverActivities } from '../types.ts';
import { running } from '../vault/activities.ts';
import { advanceEpoch } from './epoch.ts';
import { fenceSite } from './fence.ts';
import { makePlan } from './plan.ts';
import { restoreContacts } from './restore.ts';
import { serveUsers } from './serve.ts';
import { openSite } from './site.ts';

/** Everything that a failover calls, at one site. Acts carry the names that runbooks give them. */
export function createFailoverActivities(settings: SiteSettings): FailoverActivities {
  const site = openSite(settings);
  return {
    'claim-move': (claim) => claimMove(site, claim),
    'make-plan': (request) => makePlan(site, request, { signal: running().signal }),
    'write-journal': ({ entries }) => writeJournal(site, entries),
    'close-move': ({ report }) => closeMove(site, report, running().signal),
    'advance-epoch': (input) => advanceEpoch(site, input, running().signal),
    'fence-site': (input) => fenceSite(site, input, running().signal),
    'restore-contacts': (input) => restoreContacts(site, input, running()),
    'serve-users': (input) => serveUsers(site, input),
    async probe(input) {
      const step = input.plan.decisions.steps.find((s) => s.id === input.key.step);
      if (step?.service === 'contacts') return probeContacts(site, input, running());
      throw failure('input-invalid', `step ${input.key.step}: there is no probe of ${step?.service ?? 'no service'}`);
    },
  };
}
