import { byName } from './half.ts';
import type { Severity } from '../../activities/notify/port.ts';
import type { Epoch } from './epoch.ts';
import type { ForkLines, Line } from './fork.ts';
import type { Isolation } from './plan.ts';
import type { Timestamp } from './snapshots.ts';
import type { TestStanding } from './test-due.ts';
import { testNews } from './test-news.ts';
import type { Health, Watch } from './watch.ts';

/** One thing that the watch of a customer knows. Who is paged is told once for each value that it takes. */
export interface News {
  about: string;
  value: string;
  /** Nobody is told while it was never otherwise. */
  usual: string;
  since: Timestamp;
  /** Null: to be shown, and nobody is paged. */
  severity: Severity | null;
  /** One line. */
  subject: string;
  /** Ends in the next command. */
  text: string;
}

/** What was told last, by what it is about. */
export type Known = Readonly<Record<string, string>>;

/** Two claims of one number, and where the other one was read: seen when a partition heals. */
export interface Fork extends ForkLines {
  there: Line & { store: string };
}

/** What the looks of one customer at one site have come to. */
export interface Standing {
  customer: string;
  site: string;
  peer: string;
  watch: Watch;
  /** Of the newest look. */
  observers: Isolation['observers'];
  because: Readonly<Record<string, string>>;
  /** Whether some half is the peer's to serve, as far as this site knows. */
  peerServes: boolean;
  /** Which, as far as it is known; left out or empty, its own. */
  peerHalves?: readonly string[];
  /** Parts of this site, and what else it looks after, by name. */
  health: Readonly<Record<string, Health>>;
  /** The newer epoch under which this site is closed. */
  closedBy: (Epoch & { at: Timestamp; serviceClosedAt: Timestamp | null }) | null;
  fork: Fork | null;
  /** How its yearly continuity test stands; left out while nobody has looked. */
  test?: TestStanding;
}

const LONGEST_CAUSE = 160;
const cut = (text: string): string => {
  const line = text.replaceAll(/\s+/g, ' ').trim();
  return line.length > LONGEST_CAUSE ? `${line.slice(0, LONGEST_CAUSE)}…` : line;
};

/** What each observer saw, in one line. */
export const seenText = ({ observers, because }: Pick<Standing, 'observers' | 'because'>): string =>
  observers
    .map(({ name, saw }) => `${name} ${saw}${because[name] === undefined ? '' : ` (${cut(because[name])})`}`)
    .join('; ');

/** The command by which somebody goes on, once the peer is not seen to serve; null while nothing is to be done. */
export function nextCommand({
  customer,
  peer,
  watch,
  observers,
  peerServes,
  half = peer,
}: Pick<Standing, 'customer' | 'peer' | 'observers' | 'peerServes'> & {
  /** The half whose users it serves; left out, its own. */
  half?: string;
  watch: Pick<Watch, 'settled' | 'since' | 'silentSince'>;
}): string | null {
  if (!peerServes || watch.settled === null || watch.settled === 'serving') return null;
  const about = `--customer ${customer} --from ${peer}${half === peer ? '' : ` --half ${half}`}`;
  const from = watch.silentSince ?? watch.since;
  const since = from === null ? '' : ` --disrupted-at ${from}`;
  const words = '--reason TEXT --requested-by ID';
  if (watch.settled === 'dead') return `tandem failover start ${about} ${words}${since}`;
  // While something of it answers, a plan shows what stands in the way; where nothing does, people state how it was cut off.
  if (observers.some(({ saw }) => saw === 'answers' || saw === 'closed' || saw === 'serving'))
    return `tandem failover plan ${about}${since}`;
  return `tandem failover start ${about} ${words} --isolation TEXT${since}`;
}

/** One command for each half that is lost with the peer, its own users first: each takes a failover of its own, one after the other. */
function takeOverLines(standing: Standing): string[] {
  const { customer, peer, peerHalves = [] } = standing;
  const halves = peerHalves.length > 0 ? peerHalves : [peer];
  const commands = byName(halves)
    .toSorted((a, b) => Number(b === peer) - Number(a === peer))
    .flatMap((half) => nextCommand({ ...standing, half }) ?? []);
  const [next = `tandem status --customer ${customer}`, ...then] = commands;
  return [`Next: ${next}`, ...then.map((command) => `Then: ${command}`)];
}

function peerNews(standing: Standing): News[] {
  const { customer, site, peer, watch, peerServes } = standing;
  const { settled, since, because } = watch;
  if (settled === null) return [];
  const severities = { serving: 'info', unknown: 'warning', dead: 'critical' } as const;
  const nobody = `${site} serves all its users: nobody has to be taken over.`;
  const words = {
    serving: `site ${peer} serves`,
    unknown: `site ${peer} is not seen to serve`,
    dead: `site ${peer} is DEAD`,
  };
  const lines = [
    `Verdict: ${settled}, since ${since ?? 'an unknown time'}: ${because ?? 'as it was found before'}.`,
    `Seen from ${site}: ${seenText(standing)}.`,
    ...(settled === 'serving' || peerServes ? [] : [nobody]),
    ...takeOverLines(standing),
  ];
  return [
    {
      about: 'peer',
      value: settled,
      usual: 'serving',
      since: since ?? '',
      severity: settled === 'serving' || peerServes ? severities[settled] : 'info',
      subject: `${customer}: ${words[settled]}, seen from ${site}`,
      text: lines.join('\n'),
    },
  ];
}

/** What is said of a part that is ill, and of one that is well again. */
const healthWords: Readonly<Record<string, (site: string) => [ill: string, well: string]>> = {
  'hand-over': (site) => [
    `BOTH SITES SERVED the users of a half: ${site} had lost that it had handed it over`,
    `nothing of what ${site} had lost of a hand-over is left to be brought together`,
  ],
  zone: () => ['the zone names a newer epoch that no site has signed', 'the zone and the signed claims agree again'],
};
const plainWords = (part: string, site: string): [string, string] => [
  `the ${part} of this site, ${site}, is SILENT`,
  `the ${part} of this site, ${site}, answers again`,
];

function healthNews({ customer, site, health }: Standing): News[] {
  return Object.entries(health).map(([about, { ill, since, because }]) => {
    const [whenIll, whenWell] = healthWords[about]?.(site) ?? plainWords(about, site);
    return {
      about,
      value: ill ? 'ill' : 'well',
      usual: 'well',
      since: since ?? '',
      severity: ill ? 'critical' : 'info',
      subject: `${customer}: ${ill ? whenIll : whenWell}`,
      text: [
        ...(ill ? [`Since ${since ?? ''}: ${cut(because ?? 'no answer')}.`] : []),
        `Next: tandem ${ill ? `doctor --site ${site}` : `status --customer ${customer}`}`,
      ].join('\n'),
    };
  });
}

function closedNews({ customer, site, closedBy }: Standing): News {
  if (!closedBy) {
    const usual = 'no';
    return {
      about: 'closed',
      value: usual,
      usual,
      since: '',
      severity: null,
      subject: `${site} obeys no epoch of its peer`,
      text: '',
    };
  }
  const { number, site: by, at, serviceClosedAt } = closedBy;
  const service =
    serviceClosedAt === null
      ? 'Its service was not seen to obey yet; it reads that by itself within seconds.'
      : `Its service ended the sessions by ${serviceClosedAt}.`;
  return {
    about: 'closed',
    value: String(number),
    usual: 'no',
    since: at,
    severity: 'critical',
    subject: `${customer}: this site, ${site}, is CLOSED: ${by} has claimed epoch ${number}`,
    text: [
      `Since ${at} it serves none of its users: ${by} does.`,
      service,
      `Next: tandem status --customer ${customer}`,
    ].join('\n'),
  };
}

/** Two moves hold one number, so that neither site obeys the other: until both have noted it, both may serve the same users. */
function forkNews({ customer, site, fork }: Standing): News {
  const of = { about: 'fork', usual: 'none', since: '' };
  if (!fork)
    return {
      ...of,
      value: 'none',
      severity: 'info',
      subject: `${customer}: no fork is seen from ${site} any more`,
      text: `Next: tandem status --customer ${customer}`,
    };
  const { number, here, there } = fork;
  return {
    ...of,
    value: `${number} ${there.site} ${there.move}`,
    severity: 'critical',
    subject: `${customer}: FORK at epoch ${number}, seen from ${site}: two moves have claimed it`,
    text: [
      `Here it is that of ${here.site}, move ${here.move}; in the ${there.store} that of ${there.site}, move ${there.move}.`,
      'Moves stand still. Each site closes, and serves its own half again once both have noted it.',
      'Agree with the other control room on the line that stands; two operators sign for it, at either site.',
      `Next: tandem site pick --customer ${customer} --line SITE --operator ID --key FILE --because TEXT`,
    ].join('\n'),
  };
}

export const newsOf = (standing: Standing): News[] => [
  ...peerNews(standing),
  ...healthNews(standing),
  closedNews(standing),
  forkNews(standing),
  ...(standing.test ? [testNews(standing.customer, standing.site, standing.test)] : []),
];

export const knowing = (known: Known, news: readonly News[]): Known => ({
  ...known,
  ...Object.fromEntries(news.map(({ about, value }) => [about, value])),
});

/** Whether something stands otherwise than it was last heard. */
export const isNews = (known: Known, news: readonly News[]): boolean =>
  news.some(({ about, value }) => known[about] !== value);

/** What has to be told to whoever was told `told`. */
export const toTell = (told: Known, news: readonly News[]): News[] =>
  news.filter(({ about, value, usual, severity }) => severity !== null && (told[about] ?? usual) !== value);

/** Nobody reads more pages an hour about one thing; whoever obeyed an epoch has something new to say each time. */
export const PAGES_AN_HOUR = 4;
const HOUR_MS = 3_600_000;

export interface Room {
  /** When pages about it were sent within the last hour, ms. */
  sent: readonly number[];
  may: 'page' | 'say-that-it-flaps' | 'wait';
  /** Until there is room again; 0 where there is. */
  waitMs: number;
}

/** Whether one more page about one thing may be sent now. */
export function roomFor(before: readonly number[], now: number): Room {
  const sent = before.filter((at) => now - at < HOUR_MS);
  if (sent.length < PAGES_AN_HOUR) return { sent, may: 'page', waitMs: 0 };
  if (sent.length === PAGES_AN_HOUR) return { sent, may: 'say-that-it-flaps', waitMs: 0 };
  return { sent, may: 'wait', waitMs: Math.max(0, (sent[0] ?? now) + HOUR_MS - now) };
}
