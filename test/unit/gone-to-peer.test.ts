import { describe, expect, it } from 'vitest';
import { goneToPeer, type OwnHalf, type PeerHalf } from '../../workflows/model/opening.ts';

/** East came back: west has taken epoch 2, and serves everybody under it. */

const epoch = { number: 2, site: 'west', move: 'm' };
const row = (half: string, site: string, number: number): OwnHalf => ({ half, site, epoch: number });
const said = (...halves: OwnHalf[]): PeerHalf[] => halves.map((half) => ({ ...half, open: true }));
const everybody = said(row('east', 'west', 2), row('west', 'west', 2));
const asItWas = [row('east', 'east', 1), row('west', 'west', 1)];
const own = (change: Partial<Parameters<typeof goneToPeer>[0]> = {}) => ({
  epoch,
  halves: asItWas,
  unsalvaged: [] as string[],
  ...change,
});
const gone = (change: Parameters<typeof own>[0], halves = everybody, by = epoch): string[] =>
  goneToPeer(own(change), 'west', { epoch: by, halves });

describe('a site takes a half for its peer’s', () => {
  it('when that says so under the epoch of both, whatever the row here was', () => {
    expect(gone({})).toEqual(['east']);
    expect(gone({ halves: [row('west', 'west', 1)] })).toEqual(['east']);
    // A part of its users, one day.
    expect(gone({}, said(row('cohort', 'west', 2), row('east', 'east', 1)))).toEqual(['cohort']);
  });

  it.each<[string, Parameters<typeof own>[0], PeerHalf[], typeof epoch]>([
    ['while this site alone has something of it', { unsalvaged: ['east'] }, everybody, epoch],
    ['under an epoch that this site has not obeyed', {}, everybody, { ...epoch, number: 3 }],
    ['that the peer has not obeyed', { epoch: { ...epoch, number: 3, site: 'east' } }, everybody, epoch],
    ['of another move under the same number', {}, everybody, { ...epoch, move: 'n' }],
    ['by a row that is older than the epoch', {}, said(row('east', 'west', 1)), epoch],
    ['that the peer does not say to be its own', {}, said(row('east', 'east', 2)), epoch],
    ['that this site serves under it', { halves: [row('east', 'east', 2), row('west', 'west', 2)] }, everybody, epoch],
    [
      'of which a newer row stands here',
      { halves: [row('east', 'east', 3), row('west', 'west', 1)] },
      everybody,
      epoch,
    ],
    ['that it knows to be', { halves: [row('east', 'west', 1), row('west', 'west', 1)] }, everybody, epoch],
  ])('never one %s', (_, change, halves, by) => {
    expect(gone(change, halves, by)).toEqual([]);
  });
});
