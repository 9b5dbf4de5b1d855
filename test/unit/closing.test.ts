import { describe, expect, it } from 'vitest';
import { beginLookout, DOWN_MS, lookOut, whyCutOff, whyWasDown, type Absence } from '../../workflows/model/closing.ts';
import { mayOpen, whyNotByWord, type OwnRights, type PeerRights } from '../../workflows/model/opening.ts';

const MINUTE = 60_000;
const absent = (change: Partial<Absence> = {}): Absence => ({
  signAgeMs: 6 * MINUTE,
  ranMs: null,
  serves: true,
  confirmed: false,
  serviceRan: false,
  ...change,
});

describe('a site is taken for one that was down', () => {
  it.each<[string, Partial<Absence>, string]>([
    ['after more than five minutes', {}, 'its last sign of life is 6 min 0 s old'],
    ['by a sign from a time to come', { signAgeMs: -3 * 60 * MINUTE }, 'ahead of its database'],
    ['without any sign', { signAgeMs: null }, 'no sign of life'],
    ['when its worker stood still as long', { ranMs: 6 * MINUTE }, '6 min 0 s old'],
  ])('%s', (_, change, because) => {
    expect(whyWasDown(absent(change))).toContain(because);
  });

  it.each<[string, Partial<Absence>]>([
    ['within five minutes', { signAgeMs: DOWN_MS }],
    ['by a clock that was set while its worker ran', { signAgeMs: 3 * 60 * MINUTE, ranMs: 10_000 }],
    ['nor by one set back', { signAgeMs: -3 * 60 * MINUTE, ranMs: 10_000 }],
    ['when it serves nobody', { serves: false }],
    ['when the peer leaves its users to it', { confirmed: true }],
    ['when its service was there all the while', { serviceRan: true }],
  ])('never %s', (_, change) => {
    expect(whyWasDown(absent(change))).toBeNull();
  });
});

describe('a site that looks out for others', () => {
  const LIMIT = 10 * MINUTE;
  /** Looks every ten seconds from `from` to `to`. */
  const looked = (from: number, to: number, was = beginLookout(from)) => {
    for (let now = from + 10_000; now <= to; now += 10_000) was = lookOut(was, now, false);
    return was;
  };

  it('closes after the limit, and not before', () => {
    const dark = looked(5000, 5000 + LIMIT);
    expect(whyCutOff(dark, 5000 + LIMIT - 1, LIMIT)).toBeNull();
    expect(whyCutOff(dark, 5000 + LIMIT, LIMIT)).toContain('neither its peer nor the witness was seen for 10 min 0 s');
  });

  it('begins anew with one look at either of them', () => {
    const almost = looked(0, LIMIT - 10_000);
    const seen = lookOut(almost, LIMIT - 5000, true);
    expect(whyCutOff(looked(LIMIT, 2 * LIMIT - 10_000, seen), 2 * LIMIT - 10_000, LIMIT)).toBeNull();
  });

  it('does not close on its first look after it stood still', () => {
    const still = lookOut(beginLookout(0), 60 * MINUTE, false);
    expect(whyCutOff(still, 60 * MINUTE, LIMIT)).toBeNull();
    expect(whyCutOff(lookOut(lookOut(still, 1, false), 2, false), 60 * MINUTE, LIMIT)).not.toBeNull();
  });
});

const provisioned = { number: 1, site: '-', move: 'provisioned' };
const ours = { number: 2, site: 'west', move: 'm' };
const west = (change: Partial<OwnRights> = {}): OwnRights => ({
  site: 'west',
  epoch: provisioned,
  halves: ['west'],
  ...change,
});
type Says = Extract<PeerRights, { state: 'says' }>;
const says = (change: Partial<Says> = {}): Says => ({
  state: 'says',
  epoch: provisioned,
  halves: [
    { half: 'east', site: 'east', epoch: 1, open: true },
    { half: 'west', site: 'west', epoch: 1, open: false },
  ],
  ...change,
});
const both = (epochs: number, sites: [string, string], open = false): Says['halves'] => [
  { half: 'east', site: sites[0], epoch: epochs, open },
  { half: 'west', site: sites[1], epoch: epochs, open: false },
];
/** As west has it after it took the lost site over. */
const survivor = west({ epoch: ours, halves: ['east', 'west'] });

describe('a site that is closed opens', () => {
  it.each<[string, OwnRights, Says]>([
    ['when the peer says that its users are its own', west(), says()],
    ['also when the peer is closed itself', west(), says({ halves: both(1, ['east', 'west']) })],
    ['when the peer has obeyed its epoch', survivor, says({ epoch: ours, halves: both(1, ['east', 'west']) })],
    ['when it has nobody to serve', west({ halves: [] }), says()],
  ])('%s', (_, own, peer) => {
    expect([mayOpen('was-down', own, peer).open, mayOpen('cut-off', own, peer).open]).toEqual([true, true]);
    expect([mayOpen('fork', own, peer).open, mayOpen('operator', own, peer).open]).toEqual([false, false]);
  });

  it.each<[string, OwnRights, PeerRights, RegExp]>([
    ['while the peer is silent', west(), { state: 'silent', because: 'no route' }, /does not answer: no route/],
    ['by an answer that is none', west(), { state: 'unclear', because: 'another customer' }, /confirms nothing/],
    ['while the peer holds a newer epoch', west(), says({ epoch: { ...ours, site: 'east' } }), /it will be obeyed/],
    ['while the peer holds an older one', survivor, says(), /has not obeyed it yet/],
    ['by the same number of another move', survivor, says({ epoch: { number: 2, site: 'east', move: 'n' } }), /a fork/],
    ['by the same move of another site', survivor, says({ epoch: { ...ours, site: 'east' } }), /a fork/],
    ['while the peer has its users', west(), says({ halves: both(1, ['east', 'east']) }), /west is east's to serve/],
    ['for a half that the peer does not name', west(), says({ halves: [] }), /does not say that west is west's/],
    [
      'by a row that is older than the epoch, unless that is its own',
      west({ epoch: { ...ours, site: 'east' } }),
      says({ epoch: { ...ours, site: 'east' } }),
      /does not say that west is west's/,
    ],
    [
      'while the peer serves one of its halves',
      survivor,
      says({ epoch: ours, halves: both(2, ['east', 'west'], true) }),
      /east is east's to serve/,
    ],
  ])('never %s', (_, own, peer, because) => {
    const { open, because: told } = mayOpen('was-down', own, peer);
    expect(open).toBe(false);
    expect(told).toMatch(because);
    expect(mayOpen('cut-off', own, peer)).toEqual({ open, because: told });
  });
});

describe('two operators', () => {
  it.each<[string, OwnRights, PeerRights]>([
    ['a site whose peer is silent', west(), { state: 'silent', because: '' }],
    ['one whose peer says nothing that counts', west(), { state: 'unclear', because: '' }],
    ['one whose peer confirms it', west(), says()],
  ])('open %s', (_, own, peer) => {
    expect(whyNotByWord('was-down', own, peer)).toBeNull();
    expect(whyNotByWord('operator', own, peer)).toBeNull();
    expect(whyNotByWord('fork', own, peer)).toMatch(/line that stands/);
  });

  it.each<[string, OwnRights, PeerRights, RegExp]>([
    ['whose peer holds a newer epoch', west(), says({ epoch: { ...ours, site: 'east' } }), /newer epoch 2 of east/],
    ['whose peer holds this epoch of another move', survivor, says({ epoch: { ...ours, move: 'n' } }), /a fork/],
    [
      'whose peer has not obeyed it yet, although it serves nobody',
      survivor,
      says({ halves: both(1, ['east', 'west']) }),
      /the older epoch 1: it confirms this site once it has obeyed epoch 2/,
    ],
    [
      'whose peer serves its users',
      survivor,
      says({ epoch: ours, halves: both(2, ['east', 'west'], true) }),
      /east is east's to serve, and serves it/,
    ],
    ['whose peer has its users, closed as it may be', west(), says({ halves: both(1, ['east', 'east']) }), /east's/],
  ])('never open one %s', (_, own, peer, because) => {
    expect(whyNotByWord('cut-off', own, peer)).toMatch(because);
  });
});
