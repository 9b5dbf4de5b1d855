import { below, makeFigure, type Figure, type FigureInput } from '../report.ts';
import type { Seen } from './bench.ts';
import { TALK_EVERY_MS, TALKERS } from './talk.ts';

/** What was seen of a failover, as figures. */

const p99 = (samples: readonly number[]): number =>
  samples.toSorted((a, b) => a - b)[Math.ceil(samples.length * 0.99) - 1] ?? Number.NaN;

const reported = { theirs: [], goal: null } as const satisfies Partial<FigureInput>;
const held = (limit: number, unit: string): Pick<FigureInput, 'theirs' | 'goal'> => ({
  theirs: [],
  goal: below(limit, unit),
});

export const ofUsers = (seen: readonly Seen[], users: number): Figure[] => [
  makeFigure({
    figure: 'signed-in',
    unit: 's',
    ours: seen.map(({ signedInMs }) => signedInMs / 1000),
    ...held(5, 's'),
    note: `${users} users of a lost site; from the second approval until the first of them has signed in at the survivor`,
  }),
  makeFigure({
    figure: 'probes-green',
    unit: 's',
    ours: seen.map(({ greenMs }) => greenMs / 1000),
    ...held(30, 's'),
    note: 'from the second approval until every promised service was seen to work by real clients',
  }),
];

export function ofTalk(seen: readonly Seen[]): Figure[] {
  const talk = `${TALKERS} pairs of users who stayed, a message each ${TALK_EVERY_MS} ms, from before the loss until the move has ended`;
  const letters = 'written meanwhile to a user of the lost site';
  const of = (figure: string, ours: number[], note: string, goal = reported as Pick<FigureInput, 'theirs' | 'goal'>) =>
    makeFigure({ figure, unit: 'messages', ours, ...goal, note });
  return [
    of(
      'messages-lost',
      seen.map((s) => s.talk.lost),
      talk,
      held(1, 'messages'),
    ),
    makeFigure({
      figure: 'message-delay-p99',
      unit: 'ms',
      ours: seen.map((s) => p99(s.talk.delaysMs)),
      ...reported,
      note: talk,
    }),
    of(
      'undelivered-told',
      seen.map((s) => s.letters.refused),
      `${letters}, before he was served: the sender is told`,
    ),
    of(
      'undelivered-kept',
      seen.map((s) => s.letters.kept),
      `${letters}, and there when he signs in`,
    ),
    of(
      'undelivered-lost',
      seen.map(({ letters: { sent, refused, kept } }) => sent - refused - kept),
      `${letters}, neither kept nor told: sent before the survivor has noticed that the site is gone`,
    ),
  ];
}

/** Through the proxy that paces them (ours), and straight to the server (theirs). */
export function ofStorms(seen: readonly Seen[], size: number): Figure[] {
  const storms = seen.flatMap(({ storms: { proxy, server } }) => (proxy && server ? [{ proxy, server }] : []));
  if (storms.length === 0) return [];
  const [ours, theirs] = (['proxy', 'server'] as const).map((door) => storms.map((s) => s[door]));
  const of = (
    figure: string,
    unit: string,
    what: (s: (typeof storms)[number]['proxy']) => number,
    note: string,
  ): Figure =>
    makeFigure({ figure, unit, ours: (ours ?? []).map(what), theirs: (theirs ?? []).map(what), goal: null, note });
  const who = `${size} lost users come at the same moment, paced by the proxy against not paced`;
  return [
    of('storm-p99', 's', (s) => p99(s.signInsMs) / 1000, `${who}: the slowest of a hundred of them is in`),
    of('storm-rate', 'sign-ins/s', (s) => (1000 * s.signInsMs.length) / s.allMs, `${who}: until the last is in`),
    of('storm-delay-p99', 'ms', (s) => p99(s.talk.delaysMs), `${who}: messages of those who stayed`),
    of('storm-lost', 'messages', (s) => s.talk.lost, `${who}: messages of those who stayed`),
  ];
}

export const servable = (seen: readonly Seen[], users: number): Figure =>
  makeFigure({
    figure: 'servable',
    unit: 's',
    ours: seen.map(({ signedInMs, lastMs }) => Math.max(signedInMs, lastMs) / 1000),
    ...held(60, 's'),
    note: `${users} users of a lost site; from the second approval until the first and the last of them have signed in`,
  });
