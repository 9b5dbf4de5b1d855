import type { TwoSites } from './two-sites.ts';
import { quiet } from './world.ts';

/** Where an exploration begins: what has happened before, each with what it is for. Faults before it are not counted. */

const move = (site: string, ...steps: string[]): string[] => steps.map((step) => `${site}: move 1 ${step}`);

const CLAIM = 'claims its epoch in the stores in reach';
const TAKE = 'takes its epoch in its own database';
const FENCE = 'fences the source';
const RESTORE = 'has restored the contacts';
const SERVE = 'serves the users';
const LONG = 'five minutes and the self-fence time pass; east looks first';
const DECLARE = 'operators declare a failover';
const STATE = 'operators declare a failover, and state that the peer is cut off';
const CUT = 'the link between the sites is cut';
const NO_WITNESS = 'the link to the witness is cut';

const RELOCATE = 'east: operators plan to move its own half away';
const HOME = 'west: operators plan to bring the other half home';
const TELL = 'tells the peer of its claim';
const DRAIN = 'drains the half';
const COPY = 'copies the half';
/** West's second move, after its failover. */
const back = (...steps: string[]): string[] => steps.map((step) => `west: move 2 ${step}`);

const westServesAll = [
  `west: ${DECLARE}`,
  ...move('west', CLAIM, TAKE, FENCE, RESTORE),
  'the lease passes',
  ...move('west', SERVE),
];

const histories = {
  /** Both sites serve their own half, and everything runs. */
  quiet: [],
  /** Both control rooms have declared, each under the same number. */
  'both declared': [`east: ${DECLARE}`, `west: ${DECLARE}`],
  /** The sites do not see each other; both see the witness. */
  apart: [CUT],
  /** East sees nobody, and its users may still reach it. */
  'east alone': [CUT, `east: ${NO_WITNESS}`],
  /** East sees of west only that its client port answers. */
  'east half blind': ['only client ports pass between the sites', `east: ${NO_WITNESS}`],
  /** Nobody sees anybody: each control room has only what it is told. */
  'both alone': [CUT, `east: ${NO_WITNESS}`, `west: ${NO_WITNESS}`],
  /** East has no power. */
  'east lost': ['east: the power is cut'],
  /** East has no power, west has claimed and found it dead: before the first user is served. */
  'before serving': ['east: the power is cut', `west: ${DECLARE}`, ...move('west', CLAIM, TAKE, FENCE, RESTORE)],
  /** West has closed a living east by its database, and its service may still believe the old rights. */
  'just fenced': [`west: ${DECLARE}`, ...move('west', CLAIM, TAKE, FENCE, RESTORE)],
  /** West serves everybody, after it closed a living east by its database. */
  'west serves all': westServesAll,
  /** West serves everybody, closed east by its database; then that was put back to yesterday's backup, and east sees nobody. */
  'east put back': [...westServesAll, CUT, `east: ${NO_WITNESS}`, 'east: the database goes down'],
  /** The same, with all links whole; east's operators have declared a failover before its worker looked around. */
  'east forgets': [
    ...westServesAll,
    'east: the database goes down',
    'east: the database comes back as it was yesterday',
    `east: ${DECLARE}`,
  ],
  /** East's database was put back while it saw nobody; its operators declared and claimed. Now the sites see each other again. */
  'east claims blind': [
    ...westServesAll,
    CUT,
    `east: ${NO_WITNESS}`,
    'east: the database goes down',
    'east: the database comes back as it was yesterday',
    LONG,
    `east: ${STATE}`,
    ...move('east', CLAIM),
    'the link between the sites heals',
  ],
  /** East sees nobody, lives, and was found dead: west is about to serve its users. */
  'found dead': [CUT, `east: ${NO_WITNESS}`, `west: ${DECLARE}`, ...move('west', CLAIM, TAKE, FENCE, RESTORE)],
  /** West closed a living east by a word, while it did not reach the witness, which it does again now. */
  'witness late': [
    CUT,
    `west: ${NO_WITNESS}`,
    `west: ${STATE}`,
    ...move('west', CLAIM, TAKE, FENCE, RESTORE),
    'west: the link to the witness heals',
  ],
  /** Both sites without power, east back alone after a long time. */
  'black start': ['east: the power is cut', 'west: the power is cut', LONG],
  /** East came back after a long time, and has closed itself; its worker has not been heard by anybody yet. */
  'east back': [CUT, 'east: the power is cut', LONG, 'east: the power comes back', 'east: the worker starts'],
  /** The same, and its peer has confirmed that it may open; before it did, west has closed it by its database. */
  'east confirmed': [
    CUT,
    'east: the power is cut',
    LONG,
    'east: the power comes back',
    'east: the worker starts',
    'the link between the sites heals',
    'east: the worker watches',
    `west: ${DECLARE}`,
    ...move('west', CLAIM, TAKE, FENCE, RESTORE),
  ],
  /** East is about to give its own half to west, in quiet times. */
  relocating: [RELOCATE, ...move('east', CLAIM)],
  /** West has followed its claim, and goes on serving its own; nothing is drained. */
  followed: [RELOCATE, ...move('east', CLAIM, TAKE, TELL)],
  /** East's half is drained and copied: before it lets go. */
  drained: [RELOCATE, ...move('east', CLAIM, TAKE, TELL, DRAIN), 'the lease passes', ...move('east', COPY)],
  /** West has been given it, and serves everybody. */
  'handed over': [
    RELOCATE,
    ...move('east', CLAIM, TAKE, TELL, DRAIN),
    'the lease passes',
    ...move('east', COPY, 'lets go of the half', 'tells the peer that the half is its own'),
  ],
  /** West serves everybody, and is about to let go of east's half: drained and copied, to go home. */
  'drained to go home': [
    ...westServesAll,
    'east: the worker watches',
    HOME,
    ...back(CLAIM, TAKE, TELL, DRAIN),
    'the lease passes',
    ...back(COPY),
  ],
  /** Both control rooms have failed the other site over, each on a statement. */
  fork: [
    CUT,
    `east: ${NO_WITNESS}`,
    `west: ${NO_WITNESS}`,
    'east: the link to the zone is cut',
    ...['east', 'west'].flatMap((site) => [`${site}: ${STATE}`, ...move(site, CLAIM, TAKE, FENCE, RESTORE)]),
  ],
} as const satisfies Record<string, readonly string[]>;

export type Start = keyof typeof histories;
export const startNames = Object.keys(histories) as Start[];

/** Whether a planned move is under way there: elsewhere its events would only be tried in vain. */
export const plannedIn = (start: Start): 'none' | 'under way' =>
  histories[start].some((event) => event === RELOCATE || event === HOME) ? 'under way' : 'none';

export const startOf = (model: TwoSites, start: Start): Uint8Array => model.after(quiet(), histories[start]);
