import { answerClaim, confirmedBy, goesAlong, obey } from '../../workflows/model/rights.ts';
import { SILENT, TWICE, UNMENDED, type Mutation } from './mutation.ts';

/** Of claims, forks and the steps of a move. */
export const ofMoves: readonly Mutation[] = [
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
    // A site that starts closed would open later, and so hide it.
    rule: 'a database that does not know of a newer epoch gives no right to take along',
    without: { knowsItsRights: () => true, startsClosed: false },
    start: 'east forgets',
    faults: 0,
    depth: 6,
    finds: TWICE,
  },
  {
    // Each of the two is enough for this; the first also keeps a move from writing contacts, DNS and proxies.
    rule: 'a fork freezes the moves, and holds back what is not at home here',
    without: { forkFreezes: false, forkHoldsBack: false },
    start: 'fork',
    selfFence: true,
    faults: 0,
    depth: 6,
    finds: TWICE,
  },
  {
    rule: 'a site that sees a fork keeps its own half only once its peer has noted it as well',
    without: { whomInFork: () => 'own-half' },
    start: 'fork',
    selfFence: true,
    faults: 0,
    depth: 5,
    finds: TWICE,
  },
  {
    // Each of the two is enough for this; the first also keeps an old move from writing contacts, DNS and proxies.
    rule: "an act does nothing under another epoch than its own, and no right is written over another site's",
    without: { actsUnderItsEpoch: false, mayTake: () => true, ...UNMENDED },
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
];
