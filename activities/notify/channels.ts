import { failure } from '../../workflows/model/failures.ts';
import type { SiteSettings } from '../settings.ts';
import { outbox } from './outbox.ts';
import type { Channel, ChannelSettings } from './port.ts';
import { smtp } from './smtp.ts';
import { webhook } from './webhook.ts';

/** The channel of this name, ready to send. */
export function openChannel(name: string, settings: ChannelSettings): Channel {
  switch (settings.kind) {
    case 'webhook':
      return webhook(name, settings);
    case 'smtp':
      return smtp(name, settings);
    case 'outbox':
      return outbox(name, settings);
    default:
      return settings satisfies never;
  }
}

/** A channel of this site; a failure `channel-unknown` names those it has. */
export function channelOf({ site, channels }: Pick<SiteSettings, 'site' | 'channels'>, name: string): Channel {
  const settings = channels.get(name);
  if (settings) return openChannel(name, settings);
  const known = [...channels.keys()].join(', ') || 'none';
  throw failure('channel-unknown', `channel ${JSON.stringify(name)}: site ${site} has ${known}`);
}
