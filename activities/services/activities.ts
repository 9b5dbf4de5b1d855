import { applyEntitlements } from '../directory/act.ts';
import { createDirectoryActivities } from '../directory/activities.ts';
import { closeMove } from '../journal/close.ts';
import { sealMove } from '../journal/seal.ts';
import { claimMove, writeJournal } from '../journal/moves.ts';
import { notify } from '../notify/act.ts';
import { createExternalActivities } from '../notify/follow.ts';
import { pageOperators } from '../notify/page.ts';
import { requestExternalUpdate } from '../notify/request.ts';
import { probe } from '../probes/act.ts';
import { running } from '../running.ts';
import type { SiteSettings } from '../settings.ts';
import type {
  ExternalUpdateActivities,
  FailoverActivities,
  PlannedDataActivities,
  ProvisioningActivities,
  ReadinessActivities,
} from '../types.ts';
import { shiftTraffic } from '../traffic/act.ts';
import { checkEffect } from './check.ts';
import { drainSessions } from './drain.ts';
import { enableService } from './enable.ts';
import { advanceEpoch } from './epoch.ts';
import { fenceSite } from './fence.ts';
import { openSource } from './give-back.ts';
import { performOutside } from './outside.ts';
import { checkParity } from './parity.ts';
import { makePlan } from './plan.ts';
import { makeRelocatePlan } from './plan-relocate.ts';
import { plannedStep } from './planned.ts';
import { evaluateReadiness } from './readiness.ts';
import { rehomeUsers } from './rehome.ts';
import { serveUsers } from './serve.ts';
import { openSite } from './site.ts';

/** Acts that move bulk data: a process of its own performs them. */
type MovedAct = 'restore-contacts' | keyof PlannedDataActivities;

/**
 * What a move calls at one site, without what moves bulk data: of that a probe takes the part that compares rows. Acts
 * carry the names that runbooks give them.
 */
export function createFailoverActivities(
  settings: SiteSettings,
  moved: Pick<FailoverActivities, 'probe'>,
): Omit<FailoverActivities, MovedAct> & ExternalUpdateActivities & ProvisioningActivities & ReadinessActivities {
  const site = openSite(settings);
  return {
    'claim-move': (claim) => claimMove(site, claim),
    'make-plan': (request) =>
      (request.workflow === 'relocate' ? makeRelocatePlan : makePlan)(site, request, { signal: running().signal }),
    'write-journal': ({ entries }) => writeJournal(site, entries),
    'close-move': ({ report }) => closeMove(site, report, running().signal),
    'seal-move': (move) => sealMove(site, move, running().signal),
    'advance-epoch': async (input) => advanceEpoch(site, await plannedStep(site, input), running().signal),
    'fence-site': async (input) => fenceSite(site, await plannedStep(site, input), running().signal),
    'open-site': async (input) => openSource(site, await plannedStep(site, input), running().signal),
    'apply-entitlements': async (input) => applyEntitlements(site, await plannedStep(site, input), running().signal),
    'drain-sessions': async (input) => drainSessions(site, await plannedStep(site, input), running().signal),
    'serve-users': async (input) => serveUsers(site, await plannedStep(site, input), running().signal),
    'rehome-users': async (input) => rehomeUsers(site, await plannedStep(site, input), running().signal),
    probe: async (input) => {
      const { signal } = running();
      return probe(site, await plannedStep(site, input), { rows: () => moved.probe(input), signal });
    },
    'enable-service': async (input) => enableService(site, await plannedStep(site, input), running().signal),
    'check-parity': async (input) => checkParity(site, await plannedStep(site, input), running().signal),
    notify: async (input) => notify(site, await plannedStep(site, input), running().signal),
    'request-external-update': async (input) => requestExternalUpdate(site, await plannedStep(site, input)),
    'evaluate-readiness': ({ customer }) => evaluateReadiness(site, customer, running().signal),
    ...createDirectoryActivities(site, () => running().signal),
    ...createExternalActivities(site, () => running().signal),
    'page-operators': (page) => pageOperators(settings, page, running().signal),
    'call-http': async (input) => performOutside(site, await plannedStep(site, input), 'call-http', running().signal),
    'run-command': async (input) =>
      performOutside(site, await plannedStep(site, input), 'run-command', running().signal),
    'shift-dns': async (input) => shiftTraffic(site, await plannedStep(site, input), 'shift-dns', running().signal),
    'shift-proxy': async (input) => shiftTraffic(site, await plannedStep(site, input), 'shift-proxy', running().signal),
    'check-effect': async (input) => checkEffect(site, await plannedStep(site, input), running().signal),
  };
}
