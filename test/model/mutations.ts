import { answerClaim, confirmedBy, goesAlong, obey } from '../../workflows/model/rights.ts';
import type { Rules } from './rules.ts';
import type { Start } from './starts.ts';

/**
 * Why each rule is there: without it, this goes wrong. The explorer must find it, from a start that is near it, within the
 * depth that stands here; with the rule it finds nothing there.
 */
export interface Mutation {
  /** The rule, as it would have to be told to somebody who wants to leave it out. */
  rule: string;
  without: Partial<Rules>;
  start: Start;
  selfFence?: boolean;
  /** Parts and links that may fail after the start. */
  faults: number;
  depth: number;
  /** What is found. */
  finds: RegExp;
}

const TWICE = /both sites (still )?serve/;
const SILENT = /nothing says why$/;

export const mutations: readonly Mutation[] = [
  {
    rule: 'a store of claims refuses a lower number',
    without: {
      answerClaim: (held, offered) => (answerClaim(held, offered) === 'refused' ? 'taken' : answerClaim(held, offered)),
    },
    start: 'quiet',
    faults: 2,
    depth: 7,
    finds: /lower number/,
  },
  {
    rule: 'a store of claims refuses the same number of another move',
    without: {
      answerClaim: (held, offered) => (answerClaim(held, offered) === 'fork' ? 'taken' : answerClaim(held, offered)),
    },
    start: 'both declared',
    faults: 0,
    depth: 8,
    finds: TWICE,
  },
  {
    rule: 'a site obeys no claim of its own',
    without: { obeysOwnClaims: true },
    start: 'quiet',
    faults: 0,
    depth: 6,
    finds: SILENT,
  },
  {
    rule: 'a site obeys a newer epoch that it sees',
    without: { obey: (held, seen) => (obey(held, seen) === 'obey' ? 'nothing' : obey(held, seen)) },
    start: 'both alone',
    faults: 0,
    depth: 8,
    finds: /still serve/,
  },
  {
    rule: 'an equal epoch of another move is not obeyed: it is a fork',
    without: { obey: (held, seen) => (obey(held, seen) === 'fork' ? 'obey' : obey(held, seen)) },
    start: 'fork',
    faults: 0,
    depth: 3,
    finds: /still serve|nothing comes to rest/,
  },
  {
    rule: 'a fork closes what is not the own half',
    without: { obey: (held, seen) => (obey(held, seen) === 'fork' ? 'nothing' : obey(held, seen)) },
    start: 'fork',
    faults: 0,
    depth: 3,
    finds: /still serve/,
  },
  {
    rule: 'a database that does not know of a newer epoch gives no right to take along',
    without: { knowsItsRights: () => true },
    start: 'east forgets',
    faults: 0,
    depth: 6,
    finds: TWICE,
  },
  {
    rule: 'a fork freezes the moves',
    without: { forkFreezes: false },
    start: 'fork',
    selfFence: true,
    faults: 0,
    depth: 6,
    finds: TWICE,
  },
  {
    rule: 'a site that sees a fork keeps its own half only once its peer has noted it as well',
    without: { forkWaitsForPeer: false },
    start: 'fork',
    selfFence: true,
    faults: 0,
    depth: 5,
    finds: TWICE,
  },
  {
    // Each of the two is enough for this; the first also keeps an old move from writing contacts, DNS and proxies.
    rule: "an act does nothing under another epoch than its own, and no right is written over another site's",
    without: { actsUnderItsEpoch: false, mayTake: () => true },
    start: 'before serving',
    faults: 0,
    depth: 6,
    finds: TWICE,
  },
  {
    rule: 'what was closed does not come back when the site takes a further epoch',
    without: { goesAlong: (row, own) => goesAlong(row, own, row.epoch) },
    start: 'west serves all',
    faults: 1,
    depth: 6,
    finds: TWICE,
  },
  {
    rule: 'nobody is served before his contacts are restored',
    without: { servesAfterRestore: false },
    start: 'quiet',
    faults: 0,
    depth: 6,
    finds: /before their contacts are restored/,
  },
  {
    rule: 'a source that nobody closed, stated or found dead is not taken over',
    without: { confirmedBy: (source, word) => confirmedBy(source, word) ?? 'database' },
    start: 'both alone',
    faults: 0,
    depth: 8,
    finds: TWICE,
  },
  {
    rule: 'after the source is closed by its database, its service is given the time to read it',
    without: { waitsForLease: false },
    start: 'quiet',
    faults: 0,
    depth: 6,
    finds: TWICE,
  },
  {
    rule: 'a service that cannot read its rights serves nobody after some seconds',
    without: { beliefRunsOut: false },
    start: 'just fenced',
    faults: 1,
    depth: 4,
    finds: TWICE,
  },
  {
    rule: 'a site that was away starts closed',
    without: { startsClosed: false },
    start: 'east put back',
    faults: 1,
    depth: 4,
    finds: TWICE,
  },
  {
    rule: 'a service wants a sign of life whenever it had nothing to read, not only when it starts',
    without: { wantsLifeAfterLapse: false },
    start: 'east put back',
    faults: 1,
    depth: 4,
    finds: TWICE,
  },
  {
    rule: 'a worker looks how old the last sign of life is each time, not only when it starts',
    without: { looksAtLastSign: false },
    start: 'east put back',
    faults: 1,
    depth: 4,
    finds: TWICE,
  },
  {
    rule: 'a site that closed itself opens only when its peer confirms it',
    without: { opens: () => true },
    start: 'east put back',
    faults: 1,
    depth: 5,
    finds: TWICE,
  },
  {
    rule: 'a peer that holds the epoch and serves nobody of these confirms as well',
    without: {
      opens: (own, peer) =>
        peer !== null &&
        answerClaim(own.epoch, peer.epoch) === 'same' &&
        own.halves.every((half) =>
          peer.halves.some((h) => h.half === half && h.right.site === own.site && h.right.epoch === peer.epoch.number),
        ),
    },
    start: 'west serves all',
    faults: 1,
    depth: 6,
    finds: SILENT,
  },
  {
    rule: 'the opening looks once more whether what was confirmed still stands',
    without: { opensIfUnchanged: false },
    start: 'east confirmed',
    faults: 0,
    depth: 3,
    finds: TWICE,
  },
  {
    rule: 'two operators open no site against a peer that answers and says otherwise',
    without: { wordAsksPeer: false },
    start: 'east put back',
    faults: 1,
    depth: 4,
    finds: TWICE,
  },
  {
    rule: 'with self-fence, a site that sees nobody closes itself',
    without: { closesCutOff: 'nobody' },
    start: 'found dead',
    selfFence: true,
    faults: 0,
    depth: 3,
    finds: TWICE,
  },
  {
    rule: 'with self-fence, a site whose worker is away or frozen closes itself too',
    without: { closesCutOff: 'worker' },
    start: 'found dead',
    selfFence: true,
    faults: 1,
    depth: 4,
    finds: TWICE,
  },
  {
    rule: 'the self-fence time counts from the last look that saw somebody, not from a start of the worker',
    without: { countsFrom: 'start' },
    start: 'found dead',
    selfFence: true,
    faults: 1,
    depth: 5,
    finds: TWICE,
  },
  {
    rule: 'with self-fence, a survivor that has only words waits until the source has closed itself',
    without: { waitsForSelfFence: false },
    start: 'found dead',
    selfFence: true,
    faults: 0,
    depth: 2,
    finds: TWICE,
  },
  {
    rule: 'that wait counts from when the claim stands in the witness',
    without: { waitsForWitness: false },
    start: 'witness late',
    selfFence: true,
    faults: 0,
    depth: 2,
    finds: TWICE,
  },
  {
    rule: 'after that wait its claim must still be the newest in the witness',
    without: { asksWitnessAgain: false },
    start: 'found dead',
    selfFence: true,
    faults: 0,
    depth: 6,
    finds: TWICE,
  },
  {
    rule: 'only what would tell of a newer epoch counts as seeing the peer',
    without: { seesBy: 'anything' },
    start: 'east half blind',
    selfFence: true,
    faults: 0,
    depth: 7,
    finds: TWICE,
  },
  {
    rule: 'a move is turned back only before its first user is served',
    without: { turnsBackBeforeServing: false },
    start: 'west serves all',
    faults: 0,
    depth: 3,
    finds: TWICE,
  },
  {
    rule: 'turning back takes a further epoch',
    without: { turnsBackUnderNewEpoch: false },
    start: 'before serving',
    faults: 0,
    depth: 6,
    finds: TWICE,
  },
];
