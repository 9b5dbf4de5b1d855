import type { Client } from '@temporalio/client';
import { pageOperators } from '../activities/notify/page.ts';
import type { SiteSettings } from '../activities/settings.ts';
import { failureText } from '../workflows/model/failures.ts';
import type { SiteMetrics } from './metrics.ts';
import {
  strandedHeads,
  strandedMoves,
  strandedReasons,
  strandedText,
  takeOverCommand,
  type StrandedMove,
} from './stranded.ts';
import { pause } from './temporal.ts';

/** With the 75 s after which a silent build is gone, whoever is on duty hears of it within two minutes. */
const EVERY_MS = 30_000;

/**
 * Looks for moves that stand still while this worker lives: a release that was rolled out without leaving a worker of the
 * old build, or a history that cannot be replayed, would else stop a failover in silence. Each is said and paged once, with
 * the command that takes it over.
 */
export async function watchStranded(
  client: Client,
  settings: SiteSettings,
  metrics: SiteMetrics,
  signal: AbortSignal,
  say: (line: string) => void,
  { everyMs = EVERY_MS, goneMs }: { everyMs?: number; goneMs?: number } = {},
): Promise<void> {
  const { site } = settings;
  const told = new Set<string>();
  const count = (moves: readonly StrandedMove[]): void => {
    for (const reason of strandedReasons)
      metrics.stranded.set({ site, reason }, moves.filter((m) => m.reason === reason).length);
  };
  count([]);
  while (!signal.aborted) {
    try {
      const moves = await strandedMoves(client, goneMs === undefined ? {} : { goneMs });
      count(moves);
      for (const move of moves.filter(({ runId }) => !told.has(runId))) {
        say(`ALARM: ${strandedText(move)}; \`${takeOverCommand(move, site)}\` goes on from its journal`);
        if (await page(settings, move, signal, say)) told.add(move.runId);
      }
    } catch (error) {
      if (signal.aborted) return;
      say(`moves that stand still cannot be looked for: ${failureText(error)}`);
    }
    await pause(everyMs, signal);
  }
}

/** Whether there is nobody left to tell; else it is tried again with the next look. */
async function page(
  settings: SiteSettings,
  stranded: StrandedMove,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<boolean> {
  const { customer, workflowId, runId, reason } = stranded;
  const { sent, failed } = await pageOperators(
    settings,
    {
      customer,
      move: null,
      key: `stranded/${runId}`,
      subject: `${customer}: the ${workflowId.split('/')[0]} stands still, ${strandedHeads[reason]}`,
      text: `${strandedText(stranded)}.\nNext: ${takeOverCommand(stranded, settings.site)}${reason === 'no-worker' ? '\nor start a worker of that build again.' : ''}`,
    },
    signal,
  );
  for (const { channel, because } of failed) say(`channel ${channel} did not take the page: ${because}`);
  return failed.length === 0 || sent.length > 0;
}
