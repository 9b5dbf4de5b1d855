import { sign } from 'node:crypto';
import { scratchPrefix } from '../../activities/contacts/scratch.ts';
import { running } from '../../activities/running.ts';
import type { CustomerSettings } from '../../activities/settings.ts';
import type { SiteActivities } from '../../activities/types.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { allReceipts } from '../../activities/vault/test-receipts.ts';
import {
  beginTest,
  signTest,
  startTest,
  tellTest,
  type TestDraft,
  type TestHandle,
  type TestOptions,
} from '../../ops/tests.ts';
import type { ContinuityTestResult } from '../../workflows/continuity-test.ts';
import type { TestReceipt, TestStatus } from '../../workflows/model/continuity.ts';
import { ask, cover } from './failovers.ts';
import { CUSTOMER, openRegion, type Region } from './region.ts';

/** A site that holds continuity tests, with a real worker whose parts can be stopped. */
export interface TestGround {
  region: Region;
  vaults: { west: S3Vault; east: S3Vault };
  start: (options?: TestOptions) => Promise<ContinuityTestResult>;
  begin: (options?: TestOptions) => Promise<{ handle: TestHandle; run: string; status: () => Promise<TestStatus> }>;
  /** All that west's own vault has, of both sites. */
  receipts: () => Promise<TestReceipt[]>;
  /** Signed by one of the region's operators. */
  tell: (handle: TestHandle, draft: Omit<TestDraft, 'operator'>, by?: number) => Promise<TestStatus>;
  agree: (change: Partial<CustomerSettings['continuityTest']>) => void;
  /** Scratch databases of this region's tests, and the place that one holds. */
  leftThere: () => Promise<string[]>;
  /** An activity stops once it has done its work, and what comes next to it, until it is let go or cancelled. */
  stopAfter: (act: StoppedAct, next?: () => Promise<void>) => Stop;
  close: () => Promise<void>;
}

type StoppedAct = 'begin-test' | 'restore-scratch' | 'compare-scratch';

export interface Stop {
  reached: () => boolean;
  letGo: () => void;
}

export async function testGround(): Promise<TestGround> {
  const region = await openRegion({ users: 20 });
  const { east, west } = region.settings;
  const vaults = { west: new S3Vault(west.vault), east: new S3Vault(east.vault) };
  await cover(region);
  const stops = new Stops();
  await region.work('west', (real) => stops.around(real));
  const client = region.clients.west;
  return {
    region,
    vaults,
    start: (options) => startTest(client, 'west', CUSTOMER, options),
    async begin(options) {
      const handle = await beginTest(client, 'west', CUSTOMER, options);
      const status = (): Promise<TestStatus> => handle.query<TestStatus>('status');
      return { handle, run: (await handle.describe()).runId, status };
    },
    receipts: () => allReceipts({ own: vaults.west, peer: null }, west, CUSTOMER, ['east', 'west']),
    async tell(handle, draft, by = 0) {
      const operator = region.operators[by];
      if (!operator) throw new Error('no operators');
      const status = await handle.query<TestStatus>('status');
      const signed = (text: string): Promise<string> =>
        Promise.resolve(sign(null, Buffer.from(text), operator.key).toString('hex'));
      return tellTest(handle, await signTest(status, { ...draft, operator: operator.id }, signed));
    },
    agree(change) {
      const customers = west.customers as Map<string, CustomerSettings>;
      const customer = customers.get(CUSTOMER);
      if (!customer) throw new Error('no customer');
      customers.set(CUSTOMER, { ...customer, continuityTest: { ...customer.continuityTest, ...change } });
    },
    async leftThere() {
      const prefix = scratchPrefix({ url: region.urls.west });
      const rows = await ask<{ name: string }>(
        region,
        'west',
        `select datname as name from pg_database where starts_with(datname, '${prefix}')
         union all select 'place of ' || run from tandem.continuity_test`,
      );
      return rows.map(({ name }) => name);
    },
    stopAfter: (act, next) => stops.after(act, next),
    async close() {
      Object.values(vaults).forEach((vault) => vault.close());
      await region.close();
    },
  };
}

class Stops {
  private now: { act: StoppedAct; next: () => Promise<void>; reached: boolean; open: boolean } | null = null;

  after(act: StoppedAct, next?: () => Promise<void>): Stop {
    const stop = (this.now = {
      act,
      next: next ?? (() => Promise.resolve()),
      reached: false,
      open: next !== undefined,
    });
    return { reached: () => stop.reached, letGo: () => (stop.open = true) };
  }

  around(real: SiteActivities): SiteActivities {
    const stopping =
      <I, O>(act: StoppedAct, work: (input: I) => Promise<O>) =>
      async (input: I): Promise<O> => {
        const done = await work(input);
        await this.stop(act);
        return done;
      };
    return {
      ...real,
      'begin-test': stopping('begin-test', real['begin-test']),
      'restore-scratch': stopping('restore-scratch', real['restore-scratch']),
      'compare-scratch': stopping('compare-scratch', real['compare-scratch']),
    };
  }

  private async stop(act: StoppedAct): Promise<void> {
    const stop = this.now;
    if (stop?.act !== act) return;
    const { signal } = running();
    await stop.next();
    this.now = null; // Another run goes through.
    for (stop.reached = true; !stop.open; await new Promise((resolve) => setTimeout(resolve, 20)))
      signal.throwIfAborted();
  }
}
