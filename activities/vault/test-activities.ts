import { whoseTurn } from '../../workflows/model/continuity.ts';
import { failure } from '../../workflows/model/failures.ts';
import type { SiteSettings } from '../settings.ts';
import type { ContinuityActivities } from '../types.ts';
import { newestCovered } from './catalog.ts';
import { S3Vault } from './s3.ts';
import { newestPassed, writeTestReceipt } from './test-receipts.ts';

/** The part of a continuity test that works on vaults: whose turn it is, what to prove, and its receipt. */
export function createTestReceiptActivities(
  settings: SiteSettings,
): Pick<ContinuityActivities, 'plan-test' | 'write-test-receipt'> {
  const own = new S3Vault(settings.vault);
  const peers = new Map([...settings.peerVaults].map(([site, access]) => [site, new S3Vault(access)]));
  return {
    'plan-test': async ({ test, at }) => {
      const customer = settings.customers.get(test.customer);
      if (!customer)
        throw failure('unknown-customer', `customer ${JSON.stringify(test.customer)}: not at ${settings.site}`);
      const { id, peer } = customer;
      const theirs = peers.get(peer);
      const vaults = [{ site: settings.site, vault: own }, ...(theirs ? [{ site: peer, vault: theirs }] : [])];
      const turn =
        test.startedBy === 'operator'
          ? ({ turn: true, because: 'an operator asked for it' } as const)
          : whoseTurn(settings.site, await newestPassed(vaults, settings, id), Date.parse(at));
      const covered = turn.turn
        ? await newestCovered({ vault: own, customer: id, site: peer, publicKeys: settings.publicKeys }, settings.site)
        : null;
      return {
        site: settings.site,
        turn,
        snapshot: covered?.receipt.snapshot ?? null,
        point: covered?.receipt.point ?? null,
      };
    },
    'write-test-receipt': ({ receipt }) => writeTestReceipt(own, settings, receipt),
  };
}
