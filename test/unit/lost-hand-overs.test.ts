import { describe, expect, it } from 'vitest';
import { lostHandOvers, type PeerHalf } from '../../workflows/model/opening.ts';

/** West serves its half by its own rows; what does its peer's right to that say? */

describe('a right of the peer', () => {
  const epoch = { number: 2, site: 'west', move: 'm' };
  const own = { site: 'west', epoch, halves: ['west'] };
  const says = (site: string, number: number, by = epoch) => ({
    epoch: by,
    halves: [{ half: 'west', site, epoch: number, open: false }] satisfies PeerHalf[],
  });

  it('was given by this site under a claim of its own, also one that its database has lost with it', () => {
    expect(lostHandOvers(own, 'east', says('east', 2))).toEqual(['west']);
    expect(lostHandOvers({ ...own, epoch: { ...epoch, number: 1 } }, 'east', says('east', 2))).toEqual(['west']);
  });

  it.each<[string, typeof own, ReturnType<typeof says>]>([
    [
      'under a claim of the peer',
      { ...own, epoch: { ...epoch, site: 'east' } },
      says('east', 2, { ...epoch, site: 'east' }),
    ],
    ['under another move of that number', own, says('east', 2, { ...epoch, move: 'n' })],
    ['under a number that is behind', { ...own, epoch: { ...epoch, number: 3, move: 'n' } }, says('east', 2)],
    ['of an older number than the claim', own, says('east', 1)],
    ['to a half that this site does not serve', { ...own, halves: [] }, says('east', 2)],
    ['that it does not have', own, says('west', 2)],
  ])('takes nothing from this site %s', (_, here, told) => {
    expect(lostHandOvers(here, 'east', told)).toEqual([]);
  });
});
