import { Database } from '../../activities/contacts/database.ts';
import type { TestStatus } from '../../workflows/model/continuity.ts';
import { homeOf, isCohort } from '../../workflows/model/half.ts';
import { putOff, testStanding, type TestStanding } from '../../workflows/model/test-due.ts';
import type { Configuration, CustomerConfiguration } from '../config/configuration.ts';
import { findReceipts, foundedAt } from '../test-receipts.ts';
import { plain } from './print.ts';
import { siteOf } from './site.ts';
import { runningEverywhere } from './test-words.ts';

/** The continuity tests of a customer on the one screen. */

const LIMITS = { connections: 1, connectMs: 3000, statementMs: 3000 };

export interface TestsStatus {
  /** Null when no vault answers. */
  standing: TestStanding | null;
  running: TestStatus[];
  /** Why none is held now; null when one may be. */
  blackout: string | null;
  /** Where one is to be held, when it is overdue: the other direction than the last. */
  at: string;
  /** A cohort by which a live test there can look at services, as it is typed; null when none is configured. */
  cohort: string | null;
}

export async function testsStatus(
  configuration: Configuration,
  customer: CustomerConfiguration,
  from: readonly string[],
  signal: AbortSignal,
): Promise<TestsStatus> {
  const now = Date.now();
  const [found, founded, { running }] = await Promise.all([
    findReceipts(configuration, customer, signal).catch(() => null),
    Promise.all(from.map((site) => foundedOf(configuration, customer.id, site))),
    runningEverywhere(configuration, customer),
  ]);
  const first = founded.flatMap((at) => at ?? []).toSorted()[0] ?? null;
  const receipts = found?.receipts.map(({ sealed }) => sealed.document);
  const standing = receipts ? testStanding(receipts, customer.continuityTest, { founded: first, now }) : null;
  const at = customer.sites.find((site) => site !== standing?.passed?.site) ?? customer.sites[0];
  const blackout = putOff(customer.continuityTest.blackouts, now)?.because ?? null;
  const half = [...(customer.probes?.accounts.keys() ?? [])].find((of) => isCohort(of) && homeOf(of) !== at);
  const cohort = half?.slice(homeOf(half).length + 1) ?? null;
  return { standing, running, blackout, at, cohort };
}

async function foundedOf(configuration: Configuration, customer: string, site: string): Promise<string | null> {
  const settings = await siteOf(configuration, site).settings();
  const database = new Database(`database at ${site}`, settings.customers.get(customer)?.databaseUrl ?? '', LIMITS);
  try {
    return await foundedAt(database);
  } catch {
    return null; // It is silent, or nobody has prepared it yet: the other one may know.
  } finally {
    await database.close();
  }
}

const words = {
  overdue: 'CONTINUITY TEST OVERDUE',
  late: 'CONTINUITY TEST WILL BE LATE',
  soon: 'CONTINUITY TEST DUE, operators hold it',
} as const;

/** What somebody has to look at. */
export function testAlarms({ standing, running }: TestsStatus): string[] {
  const state = standing?.state;
  return [
    ...(standing && state && state in words ? [`${words[state as keyof typeof words]}: ${standing.because}`] : []),
    ...running.map(
      (t) => `CONTINUITY TEST at ${t.site}: ${t.kind}, ${t.phase}${t.because === '' ? '' : `, ${t.because}`}`,
    ),
  ].map(plain);
}

/** And what is good to know. */
export function testLines({ standing, blackout }: TestsStatus): string[] {
  const told = standing === null ? 'not known: no vault answers' : standing.because;
  const quiet = standing === null || standing.state === 'in-time' || standing.state === 'unknown';
  return [
    ...(quiet ? [`Continuity test: ${told}`] : []),
    ...(blackout === null ? [] : [`No continuity test is held now: ${blackout}`]),
  ].map(plain);
}
