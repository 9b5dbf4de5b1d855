import type { Client } from '@temporalio/client';
import { leavesOn } from '../activities/services/leaving.ts';
import { Database } from '../activities/contacts/database.ts';
import type { CustomerSettings, SiteSettings } from '../activities/settings.ts';
import { S3Vault } from '../activities/vault/s3.ts';
import type { Vault } from '../activities/vault/port.ts';
import { failureText } from '../workflows/model/failures.ts';
import { scheduleIds } from '../workflows/model/names.ts';
import { testStanding, type TestStanding } from '../workflows/model/test-due.ts';
import type { SiteMetrics } from './metrics.ts';
import { applySchedule, schedulesOf } from './schedules.ts';
import { pause } from './temporal.ts';
import { foundedAt, ReceiptsHere } from './test-receipts.ts';

const EVERY_MS = 60_000;
const LIMITS = { connections: 1, connectMs: 3000, statementMs: 10_000 };

export interface TestWatch {
  settings: SiteSettings;
  client: Client;
  metrics: SiteMetrics;
  /** How each customer's yearly test stands: the watch tells people. */
  standings: Map<string, TestStanding>;
  signal: AbortSignal;
  say: (line: string) => void;
  everyMs?: number;
}

/**
 * Knows while the worker lives when each customer's yearly test is due, by the signed receipts in this site's vault, which has
 * copies of the peer's; and moves the schedule by a test that has passed, at whichever site. It looks at receipts, not at runs: a
 * test that never began is overdue like one that failed.
 */
export async function watchTests(watch: TestWatch): Promise<void> {
  const { settings, signal, everyMs = EVERY_MS } = watch;
  const vault = new S3Vault(settings.vault);
  const ones = [...settings.customers.values()].map((customer) => new CustomerTests(watch, vault, customer));
  try {
    while (!signal.aborted) {
      for (const one of ones) await one.look();
      await pause(everyMs, signal);
    }
  } finally {
    vault.close();
    await Promise.all(ones.map((one) => one.close()));
  }
}

class CustomerTests {
  private readonly watch: TestWatch;
  private readonly customer: CustomerSettings;
  private readonly database: Database;
  private readonly receipts: ReceiptsHere;
  private said = '';

  constructor(watch: TestWatch, vault: Vault, customer: CustomerSettings) {
    this.watch = watch;
    this.customer = customer;
    const name = `database of ${customer.id} at ${watch.settings.site}`;
    this.database = new Database(name, customer.databaseUrl, LIMITS);
    this.receipts = new ReceiptsHere(vault, watch.settings, customer);
  }

  /** What goes wrong is said once, and never ends the looking. */
  async look(): Promise<void> {
    try {
      await this.go();
      this.said = '';
    } catch (error) {
      const text = `${this.customer.id}: when its test is due cannot be seen: ${failureText(error)}`;
      if (text !== this.said && !this.watch.signal.aborted) this.watch.say(text);
      this.said = text;
    }
  }

  async close(): Promise<void> {
    await this.database.close();
  }

  private async go(): Promise<void> {
    const { settings, client, metrics, standings, say } = this.watch;
    const { id, continuityTest } = this.customer;
    const [receipts, founded] = await Promise.all([this.receipts.read(), foundedAt(this.database)]);
    const standing = testStanding(receipts, continuityTest, { founded, now: Date.now() });
    standings.set(id, standing);
    metrics.test(id, standing);
    const day = await leavesOn(this.database, id);
    if (day !== null && Date.parse(day) <= Date.now()) return; // It has left.
    const schedule = scheduleIds.continuityTest(id);
    const want = schedulesOf(this.customer, settings.site, standing.passed).find((s) => s.scheduleId === schedule);
    const was = want && (await applySchedule(client, want));
    if (was === 'changed by hand') say(`schedule ${schedule} goes by the last test now: ${standing.because}`);
  }
}
