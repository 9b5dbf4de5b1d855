import { BEAT_EVERY_MS, sendBeat } from '../activities/probes/beats.ts';
import { within } from '../activities/probes/peer.ts';
import type { SiteSettings } from '../activities/settings.ts';
import { failureText } from '../workflows/model/failures.ts';
import type { SiteMetrics } from './metrics.ts';
import { pause } from './temporal.ts';

/** A witness that hangs costs one beat, not all that follow. */
const BEAT_LIMIT_MS = 5000;

/**
 * Tells the witness every few seconds that this site lives, while the worker does. No workflow and no database is in it:
 * what beats must be as alive as the process, and no more. Said once when it stops being heard, and once when it is again.
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
  let heard: boolean | null = null;
  while (!signal.aborted) {
    const next = Date.now() + BEAT_EVERY_MS;
    try {
      await within(BEAT_LIMIT_MS, 'witness', (limit) => sendBeat(witness, settings, limit), signal);
      metrics.beat.set({ site }, Date.now() / 1000);
      if (heard === false) say('the witness hears this site again');
      heard = true;
    } catch (error) {
      if (signal.aborted) return;
      if (heard !== false) say(`the witness does not hear this site: ${failureText(error)}`);
      heard = false;
    }
    await pause(Math.max(0, next - Date.now()), signal);
  }
}
