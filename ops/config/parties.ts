import type { Party } from '../../activities/settings.ts';
import { nearest, type Cursor } from '../../runbooks/yaml.ts';

/** Options that take a change at somebody outside (SERVICE, what is not within the RTO). */
export const outside = ['third-party-federation', 'public-im'] as const satisfies readonly Party['option'][];

const DAY = 24 * 3_600_000;
/** Whoever is asked oftener stops to read, and the history of a year stays readable. */
const SHORTEST_CHASE_MS = DAY / 24;
const LONGEST_CHASE_MS = 90 * DAY;
const LONGEST_TEXT = 4000;

/**
 * `customers.CUSTOMER.parties`: who is asked to change something when users are served elsewhere. Every option of that
 * kind which the customer has bought has one at the least: a failover could not keep what was promised without.
 */
export function partiesOf(
  at: Cursor,
  { options, channels }: { options: readonly string[]; channels: ReadonlyMap<string, readonly string[]> },
): ReadonlyMap<string, Party> {
  const parties = new Map(
    at.present ? at.entries('party').map(([name, place]) => [name, partyOf(name, place, channels)]) : [],
  );
  for (const option of outside.filter((o) => options.includes(o))) {
    if (![...parties.values()].some((p) => p.option === option))
      at.fault(`the customer has ${option}, and no party of that option: a failover would have nobody to ask`);
  }
  return parties;
}

function partyOf(name: string, at: Cursor, channels: ReadonlyMap<string, readonly string[]>): Party {
  const f = at.fields(['option', 'channel', 'chase', 'subject', 'change', 'contact']);
  if ((outside as readonly string[]).includes(name)) at.fault(`${name} is the name of an option, not of a party`);
  const channel = f.channel.text('the name of a channel is expected');
  for (const [site, known] of channels) {
    if (channel !== '' && !known.includes(channel))
      f.channel.fault(`${f.channel.seen()} is no channel of site ${site}; ${nearest(channel, known)}`);
  }
  const chaseMs = f.chase.duration(DAY);
  if (chaseMs < SHORTEST_CHASE_MS || chaseMs > LONGEST_CHASE_MS)
    f.chase.fault(`${f.chase.seen()}; from 1h to 90d is allowed`);
  const text = (field: Cursor, longest: number): string =>
    field.text(`a text of 1 to ${longest} characters is expected`, (v) => v.trim() !== '' && v.length <= longest);
  return {
    option: f.option.oneOf(outside),
    channel,
    chaseMs,
    subject: f.subject.present ? text(f.subject, 200) : null,
    change: text(f.change, LONGEST_TEXT),
    contact: f.contact.present ? text(f.contact, 200) : null,
  };
}
