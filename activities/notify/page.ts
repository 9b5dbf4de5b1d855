import { failureKind, failureText } from '../../workflows/model/failures.ts';
import type { SiteSettings } from '../settings.ts';
import type { PageInput, PageResult } from '../types.ts';
import { channelOf } from './channels.ts';
import { SEND_LIMIT_MS, type Message } from './port.ts';

/** Between two tries of a channel that is away. */
const PAUSE_MS = 1000;

/**
 * Tells all who are paged at this site, by all channels at once. A channel that is away is tried again for as long as one
 * sending may take, then named with the reason; it is never a failure of the page.
 */
export async function pageOperators(
  settings: Pick<SiteSettings, 'site' | 'channels' | 'paging'>,
  { severity = 'critical', ...rest }: PageInput,
  signal?: AbortSignal,
): Promise<PageResult> {
  const message: Message = { ...rest, severity };
  const deadline = Date.now() + SEND_LIMIT_MS;
  const tries = await Promise.all(
    settings.paging.map(async (channel) => {
      for (;;) {
        try {
          await channelOf(settings, channel).send(message, signal);
          return { channel, because: null };
        } catch (error) {
          if (signal?.aborted) throw error;
          const again = failureKind(error) === 'channel-unreachable' && Date.now() + PAUSE_MS < deadline;
          if (!again) return { channel, because: failureText(error) };
          await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
        }
      }
    }),
  );
  return {
    sent: tries.flatMap(({ channel, because }) => (because === null ? [channel] : [])),
    failed: tries.flatMap(({ channel, because }) => (because === null ? [] : [{ channel, because }])),
  };
}
