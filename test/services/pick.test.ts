import { sign } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { whyNotYet } from '../../activities/services/pick.ts';
import type { PeerFork } from '../../activities/services/peer-fork.ts';
import { pickedBy, pickWordText, whyNoPick, type Asked, type PickWord } from '../../activities/services/pick-words.ts';
import { linesOf, whomInFork, type ForkLines } from '../../workflows/model/fork.ts';
import { keys, people } from './closed-ground.ts';

/** Which line of a fork stands, and whom a site serves until that is said. */

const ofEast: ForkLines = { number: 7, here: { site: 'east', move: 'e' }, there: { site: 'west', move: 'w' } };
const ofWest: ForkLines = { number: 7, here: ofEast.there, there: ofEast.here };
const now = Date.parse('2026-03-01T10:00:00Z');
const asked: Asked = { customer: 'contoso', number: 7, lines: linesOf('east', 'west', ofEast), operators: people };

let count = 0;
function word(operator: string, change: Partial<PickWord> = {}, signer = operator.slice(0, 2)): PickWord {
  count += 1;
  const draft = {
    customer: 'contoso',
    number: 7,
    line: 'east',
    // At the other site they stand the other way around.
    lines: linesOf('west', 'east', ofWest),
    operator,
    because: 'it has lost less',
    nonce: count.toString(16).padStart(32, '0'),
    expires: new Date(now + 3_000_000).toISOString(),
    ...change,
  };
  const { privateKey } = keys[signer as keyof typeof keys];
  return { ...draft, signature: sign(null, Buffer.from(pickWordText(draft)), privateKey).toString('hex') };
}
const picked = (...words: PickWord[]): unknown => pickedBy(asked, words, now).picked;

describe('a site serves nobody in a fork', () => {
  it.each([
    ['that its peer has not noted', null],
    ['of which its peer has noted another number', { ...ofWest, number: 6 }],
    ['of which its peer has noted other moves', { ...ofWest, there: { site: 'east', move: 'x' } }],
    ['that its peer tells as this site does: it is its own row', ofEast],
  ])('%s', (_, told) => {
    expect(whomInFork(ofEast, told)).toBe('nobody');
  });
  it('but its own half, once its peer has noted the same', () => {
    expect([whomInFork(ofEast, ofWest), whomInFork(ofWest, ofEast)]).toEqual(['own-half', 'own-half']);
  });
});

describe('a line is not picked', () => {
  it('by one, by one with two names, or without a commander', () => {
    expect(picked(word('al'), word('al'))).toBeNull();
    expect(picked(word('al'), word('al-too'))).toBeNull();
    expect(picked(word('bo'), word('bo'))).toBeNull();
    expect(picked(word('bo'), word('al'))).toEqual({ line: 'east', by: ['bo', 'al'] });
  });

  it.each([
    ['another customer', word('al', { customer: 'other' }), /signed for other/],
    ['another number', word('al', { number: 6 }), /signed for epoch 6/],
    ['other moves', word('al', { lines: { east: 'e', west: 'x' } }), /other moves/],
    ['fewer moves', word('al', { lines: { east: 'e' } }), /other moves/],
    ['a line that is none', word('al', { line: 'north' }), /no line "north"/],
    ['no reason', word('al', { because: ' ' }), /no reason/],
    ['a role that may not', word('cy'), /it takes the role approve or commander/],
    ['the key of another', word('al', {}, 'bo'), /does not hold/],
    ['an hour that is over', word('al', { expires: new Date(now).toISOString() }), /expired/],
    ['a line that was changed afterwards', { ...word('al'), line: 'west' }, /does not hold/],
    ['what is no word', { operator: 'al' } as PickWord, /signed for undefined/],
  ])('by a word with %s', (_, one, why) => {
    expect(whyNoPick(asked, one, now)).toMatch(why);
    expect(picked(one, word('bo-too'))).toBeNull();
  });

  it('when both are', () => {
    const west = { line: 'west' };
    expect(picked(word('al'), word('bo'), word('al', west), word('bo', west))).toBe('both');
  });
});

describe('a site that was picked does not act on it', () => {
  const peer: PeerFork = { state: 'says', epoch: { number: 7, ...ofWest.here }, fork: ofWest, words: [] };
  const fork = { ...ofEast, there: { ...ofEast.there, store: 'witness' }, seenAt: '', notedThereAt: null };
  const why = (told: PeerFork, good: PickWord[] = []): string | null =>
    whyNotYet({ own: 'east', peer: 'west', fork, told, good });
  it.each([
    ['while it is alone', { state: 'silent', because: 'a test' }, /does not answer/],
    ['when its peer holds a newer epoch', { ...peer, epoch: { ...peer.epoch, number: 8 } }, /epoch 8/],
    ['when its peer holds a third move', { ...peer, epoch: { ...peer.epoch, move: 'x' } }, /move x/],
    ['before its peer has noted the fork', { ...peer, fork: null }, /not noted/],
  ] as const)('%s', (_, told, because) => {
    expect(why(told)).toMatch(because);
  });
  it('while a word for the other line lives', () => {
    expect(why(peer, [word('al'), word('bo'), word('cy', { line: 'west' })])).toMatch(/both lines/);
    expect(why(peer, [word('al'), word('bo')])).toBeNull();
  });
});
