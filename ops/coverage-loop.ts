import { Database } from '../activities/contacts/database.ts';
import { countQuarantined } from '../activities/contacts/quarantine.ts';
import { directoryState, type DirectoryState } from '../activities/directory/answer.ts';
import { readReadiness } from '../activities/services/readiness.ts';
import type { SiteSettings } from '../activities/settings.ts';
import type { Readiness } from '../workflows/model/readiness.ts';
import type { Coverage } from '../workflows/model/snapshots.ts';
import { coverageOf, openVaults } from './coverage.ts';
import type { SiteMetrics } from './metrics.ts';
import { pause } from './temporal.ts';

const EVERY_MS = 30_000;
const LIMITS = { connections: 1, connectMs: 3000, statementMs: 10_000 };

const seconds = (at: string | undefined): number => (at === undefined ? 0 : Date.parse(at) / 1000);

function show(metrics: SiteMetrics, { customer, site, newest, covered, suspect, checks }: Coverage): void {
  metrics.recoveryPoint.set({ customer, site, state: 'local' }, seconds(newest?.point));
  metrics.recoveryPoint.set({ customer, site, state: 'covered' }, seconds(covered?.point));
  metrics.suspect.set({ customer, site }, suspect ? 1 : 0);
  for (const { vault, checkedAt, damaged, strays } of checks) {
    metrics.damaged.set({ customer, site, vault }, damaged.length);
    metrics.strays.set({ customer, site, vault }, strays ? strays.versions + strays.markers + strays.unknown : 0);
    metrics.checked.set({ customer, site, vault }, seconds(checkedAt ?? undefined));
  }
}

function showDirectory(metrics: SiteMetrics, customer: string, state: DirectoryState | null): void {
  metrics.directoryAnswer.set({ customer }, seconds(state?.at ?? undefined));
  metrics.directoryHeld.set({ customer }, state?.held?.removed ?? 0);
  metrics.disabled.set({ customer }, state?.disabled ?? 0);
}

const LEVELS = { ready: 1, 'took-over': 1, asks: 0.5, 'not-ready': 0 } as const;

function showReadiness(metrics: SiteMetrics, customer: string, from: string, found: Readiness | null): void {
  metrics.readyAt.set({ customer, from }, seconds(found?.at));
  if (found) metrics.ready.set({ customer, from }, LEVELS[found.state]);
}

/**
 * Keeps the metrics of protection true while the worker lives. It watches coverage, not runs: what a schedule failed to
 * do shows here as an age that grows.
 */
export async function watchCoverage(
  settings: SiteSettings,
  metrics: SiteMetrics,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<void> {
  const vaults = openVaults(settings);
  const customers = [...settings.customers.values()].map((customer) => ({
    ...customer,
    database: new Database(`database of ${customer.id} at ${settings.site}`, customer.databaseUrl, LIMITS),
  }));
  try {
    while (!signal.aborted) {
      for (const { id, objectives, directory, database, peer } of customers) {
        metrics.rpoSeconds.set({ customer: id }, objectives.rpoMs / 1000);
        try {
          for (const direction of await coverageOf(settings, vaults, id)) show(metrics, direction);
          metrics.quarantined.set({ customer: id }, await countQuarantined(database));
          showReadiness(metrics, id, peer, await readReadiness(database, id));
          if (directory) showDirectory(metrics, id, await directoryState(database, id));
        } catch (error) {
          say(`coverage of ${id} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
        }
      }
      await pause(EVERY_MS, signal);
    }
  } finally {
    vaults.close();
    await Promise.all(customers.map(({ database }) => database.close()));
  }
}
