import { whyNotHandOver } from '../../workflows/model/rights.ts';
import { SILENT, TWICE, UNMENDED, type Mutation } from './mutation.ts';

/** Of planned moves. */
export const ofPlanned: readonly Mutation[] = [
  {
    // Each of the two is enough for this; the first also spares its users the seconds until the second.
    rule: "what a planned move's claim leaves to its peer goes along there, or is taken by what the claimant's database says",
    without: { keepsUnder: () => false, takesHandedOver: false },
    start: 'relocating',
    faults: 0,
    depth: 4,
    finds: SILENT,
  },
  {
    rule: 'a half is handed over once it is drained',
    without: {
      whyNotHandOver: (row, drain, copiedAt, offered) => {
        const why = whyNotHandOver(row, drain, copiedAt, offered);
        return why === 'not-drained' && copiedAt !== null ? null : why;
      },
    },
    start: 'followed',
    faults: 0,
    depth: 3,
    finds: /without a copy/,
  },
  {
    rule: 'and once the destination holds what was changed until then',
    without: {
      whyNotHandOver: (row, drain, copiedAt, offered) => {
        const why = whyNotHandOver(row, drain, copiedAt, offered);
        return why === 'not-copied' ? null : why;
      },
    },
    start: 'followed',
    faults: 0,
    depth: 4,
    finds: /without a copy/,
  },
  {
    rule: 'a half is drained once its service has let go of it',
    without: { drainWaits: false },
    start: 'followed',
    faults: 0,
    depth: 5,
    finds: TWICE,
  },
  {
    rule: 'its own site lets go of a half before the destination is given it, and turns back by its own row',
    without: { letsGoFirst: false, ...UNMENDED },
    start: 'drained',
    faults: 0,
    depth: 3,
    finds: TWICE,
  },
  {
    rule: 'a planned move is not turned back once its own site has let go of the half',
    without: { turnsBackBeforeServing: false },
    start: 'drained',
    faults: 0,
    depth: 4,
    finds: TWICE,
  },
  {
    rule: 'a half that the peer has under a claim of this site’s own was handed over, whatever stands here',
    without: UNMENDED,
    start: 'handed over',
    faults: 1,
    depth: 2,
    finds: TWICE,
  },
  {
    rule: 'the drain of a move that has ended is undone',
    without: { undoesForgottenDrains: false },
    start: 'drained to go home',
    faults: 0,
    depth: 2,
    finds: SILENT,
  },
  {
    rule: 'what goes along is what the claim leaves, and not what the claimant has handed over since',
    without: { leavesBy: 'rows' },
    start: 'drained to go home',
    faults: 2,
    depth: 5,
    finds: /from rows of before that/,
  },
  {
    rule: 'a destination that was put back to a backup takes nothing before it holds the copy again',
    without: { takesWithCopy: false },
    start: 'drained',
    faults: 2,
    depth: 5,
    finds: /before their contacts are restored/,
  },
];
