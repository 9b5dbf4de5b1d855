import { running } from '../running.ts';
import type { SiteSettings } from '../settings.ts';
import type { ContinuityActivities } from '../test-types.ts';
import { S3Vault } from '../vault/s3.ts';
import { writeTestReceipt } from '../vault/test-receipts.ts';
import { openSite } from './site.ts';
import { dropOwn, removeLeftOver, takeInventory } from './test-inventory.ts';
import { readPaper } from './test-paper.ts';
import { awaitCohort, lookAtCohort } from './test-live.ts';
import { planTest } from './test-plan.ts';
import { guardTest, leavePlace, takePlace, whyYield } from './test-slot.ts';

/** A continuity test but for its bulk data, which the data mover restores and compares. */
export function createTestActivities(
  settings: SiteSettings,
): Omit<ContinuityActivities, 'restore-scratch' | 'compare-scratch'> {
  const site = openSite(settings);
  const peers = new Map([...settings.peerVaults].map(([name, access]) => [name, new S3Vault(access)]));
  return {
    'plan-test': (input) => planTest(site, peers, input),
    'begin-test': async ({ kind, ...test }) => {
      await takePlace(site, { ...test, kind });
      const removed = await removeLeftOver(site, test);
      return { before: await takeInventory(site, test, running().signal), removed };
    },
    'guard-test': (test) => guardTest(site, test, running().signal),
    'inspect-test': async (test) => ({
      after: await takeInventory(site, test, running().signal),
      yields: await site.database(test.customer).connection((client) => whyYield(client, test)),
    }),
    'end-test': (test) => leavePlace(site, test),
    'await-cohort': ({ at, ...test }) => awaitCohort(site, test, at, running().signal),
    'look-at-cohort': ({ customer, cohort }) => lookAtCohort(site, customer, cohort, running().signal),
    'read-paper': ({ customer, at }) => readPaper(site, customer, at, running().signal),
    'drop-scratch': (test) => dropOwn(site, test),
    'write-test-receipt': ({ receipt }) => writeTestReceipt(site.vault, settings, receipt),
  };
}
