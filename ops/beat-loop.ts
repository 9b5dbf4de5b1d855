import { Database } from '../activities/contacts/database.ts';
import { BEAT_EVERY_MS, sendBeat } from '../activities/probes/beats.ts';
import { within } from '../activities/probes/peer.ts';
import { countUndelivered } from '../activities/probes/undelivered.ts';
import type { SiteSettings } from '../activities/settings.ts';
import { failureText } from '../workflows/model/failures.ts';
import type { Undelivered } from '../workflows/model/plan.ts';
import type { SiteMetrics } from './metrics.ts';
import { pause } from './temporal.ts';

/** A witness that hangs costs one beat, not all that follow. */
const BEAT_LIMIT_MS = 5000;
const COUNT_EVERY_MS = 60_000;
/** A store that holds very many is left uncounted rather than read for long. */
const LIMITS = { connections: 1, connectMs: 5000, statementMs: 5000 };

/**
 * Tells the witness every few seconds that this site lives, while the worker does, and what would be lost with it. No
 * workflow is in it, and it waits for no database: what beats must be as alive as the process, and no more. Said once when
 * it stops being heard, and once when it is again.
 */
export async function beat(
  settings: SiteSettings,
  metrics: SiteMetrics,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<void> {
  const { witness, site } = settings;
  if (!witness) return;
  metrics.beat.set({ site }, 0);
  const undelivered = new Map<string, Undelivered>();
  const counting = keepCounting(settings, undelivered, signal);
  let heard: boolean | null = null;
  while (!signal.aborted) {
    const next = Date.now() + BEAT_EVERY_MS;
    try {
      await within(BEAT_LIMIT_MS, 'witness', (limit) => sendBeat(witness, settings, limit, undelivered), signal);
      metrics.beat.set({ site }, Date.now() / 1000);
      if (heard === false) say('the witness hears this site again');
      heard = true;
    } catch (error) {
      if (signal.aborted) break;
      if (heard !== false) say(`the witness does not hear this site: ${failureText(error)}`);
      heard = false;
    }
    await pause(Math.max(0, next - Date.now()), signal);
  }
  await counting;
}

/** The last count stands while the database cannot be asked: it has its time beside it. */
async function keepCounting(
  { customers, site }: SiteSettings,
  undelivered: Map<string, Undelivered>,
  signal: AbortSignal,
): Promise<void> {
  const databases = [...customers.values()].map(
    ({ id, databaseUrl }) => [id, new Database(`database of ${id} at ${site}`, databaseUrl, LIMITS)] as const,
  );
  while (!signal.aborted) {
    const next = Date.now() + COUNT_EVERY_MS;
    for (const [id, database] of databases) {
      const counted = await countUndelivered(database).catch(() => null);
      if (counted) undelivered.set(id, counted);
    }
    await pause(Math.max(0, next - Date.now()), signal);
  }
  await Promise.all(databases.map(([, database]) => database.close()));
}
