import { beforeEach, describe, expect, it } from 'vitest';
import { closingOf, lastOpening } from '../../activities/services/closed.ts';
import { closeByWord, type SiteWord } from '../../activities/services/site-words.ts';
import type { Closing } from '../../workflows/model/closing.ts';
import { CUSTOMER, kindOf } from '../failover-acts/world.ts';
import {
  closedAs,
  closeWest,
  confirm,
  heard,
  keys,
  people,
  say,
  serves,
  word,
  world,
  worldForEach,
} from './closed-ground.ts';

/** What operators say of a site, outside of any move. */

worldForEach();
const closeIt = (w: SiteWord): Promise<Closing> =>
  closeByWord({ database: world.westDb, customer: CUSTOMER, operators: people }, w);

describe('a closed site is opened by two operators', () => {
  beforeEach(() => closeWest('was-down'));

  it('and never by one, whatever he is called, nor without a commander', async () => {
    expect(await say(await word('al'))).toBe('closed by al');
    expect(await say(await word('al'))).toBe('closed by al');
    expect(await say(await word('al-too'))).toBe('closed by al, al-too');
    expect([await closedAs(), await serves()]).toEqual(['was-down', 0]);
    expect(await say(await word('bo'))).toBe('opened by al, al-too, bo');
    expect([await closedAs(), await serves()]).toEqual([null, 2]);
    expect(await lastOpening(world.westDb, CUSTOMER)).toMatchObject({
      kind: 'was-down',
      openedBecause: 'east has burnt down',
      by: ['al', 'al', 'al-too', 'bo'],
    });
    await closeWest('cut-off');
    await say(await word('bo'));
    expect(await say(await word('bo', { because: 'again' }))).toBe('closed by bo');
  });

  it('and by no word in a fork that the silent peer may not have noted', async () => {
    await world.westDb.query(
      `insert into tandem.fork (customer, number, here_site, here_move, there_site, there_move, store)
       select customer, number, site, move, 'east', 'e', 'witness' from tandem.epoch`,
    );
    expect(await say(await word('al'))).toMatch(/before the other site has noted that as well/);
    expect([await closedAs(), await serves()]).toEqual(['was-down', 0]);
  });

  it('and never by a word that was given for something else, or before', async () => {
    const first = await word('al');
    expect(await say(first)).toBe('closed by al');
    expect(await say(first)).toMatch(/was used before/);
    const [second, third] = [await word('bo'), await word('bo-too')];
    expect(await say(second)).toMatch(/^opened/);
    await closeWest('was-down');
    // Neither what was used, nor what was signed and kept back.
    for (const old of [first, second, third]) expect(await say(old)).toMatch(/signed for another closing/);
    expect(await say({ ...first, closing: (await closingOf(world.westDb, CUSTOMER))?.id ?? '' })).toMatch(
      /does not hold/,
    );
    expect(await closedAs()).toBe('was-down');
    expect(await world.westDb.query('select from tandem.site_word')).toHaveLength(2);
  });

  it('and never by words from before a newer epoch: both are given anew', async () => {
    const early = await word('bo');
    expect(await say(await word('al'))).toBe('closed by al');
    await world.westDb.query(`update tandem.epoch set number = 2`);
    await world.westDb.query('update tandem.serving set epoch = 2');
    expect(await say(early)).toMatch(/signed under epoch 1, this site holds 2/);
    expect(await say(await word('bo'))).toBe('closed by bo');
    expect(await closedAs()).toBe('was-down');
  });

  it.each<[string, Partial<SiteWord>, RegExp]>([
    ['of another customer', { customer: 'fabrikam' }, /signed for fabrikam at west/],
    ['of another site', { site: 'east' }, /signed for contoso at east/],
    ['to close', { verb: 'close' }, /another closing/],
    ['that has expired', { expires: new Date(0).toISOString() }, /expired/],
    ['for longer than an hour', { expires: new Date(Date.now() + 7_200_000).toISOString() }, /at most an hour/],
    ['without a reason', { because: ' ' }, /no reason/],
  ])('and never by a word %s', async (_, change, because) => {
    expect(await say(await word('al', change))).toMatch(because);
    expect(await world.westDb.query('select from tandem.site_word')).toEqual([]);
  });

  it('and never by whoever may not, or has not signed', async () => {
    expect(await say(await word('cy'))).toMatch(/cy may not open a site/);
    expect(await say(await word('al', {}, keys.bo.privateKey))).toMatch(/does not hold under the key of al/);
    expect(await say({ ...(await word('al')), because: 'another' })).toMatch(/does not hold/);
  });

  it('and never while its peer serves its users, holds a newer epoch, or after a fork', async () => {
    await say(await word('al'));
    const bo = await word('bo');
    await world.eastDb.query(`update tandem.serving set site = 'east'`);
    expect(await say(bo, await heard())).toMatch(/answers and says that west is east's to serve, and serves it/);
    await world.eastDb.query(`update tandem.epoch set number = 2, site = 'east', move = 'theirs'`);
    expect(await say(bo, await heard())).toMatch(/holds the newer epoch 2 of east: this site obeys it/);
    await world.westDb.query(`update tandem.closed set kind = 'fork'`);
    expect(await say(bo)).toMatch(/the line that stands is picked first/);
    await world.westDb.query(`update tandem.closed set kind = 'was-down'`);
    expect([await closedAs(), await serves()]).toEqual(['was-down', 0]);
    expect(await say(bo)).toMatch(/^opened/);
    expect(await say(await word('al'))).toMatch(/it is not closed/);
  });
});

describe('an open site is closed by one operator', () => {
  it('whose word is kept; two open it, and the peer does not', async () => {
    const closing = '00000000-0000-4000-8000-000000000007';
    const mayNot = await word('cy', { verb: 'close', closing, operator: 'nobody' });
    expect(await kindOf(closeIt(mayNot))).toBe('verb-refused');
    const said = await word('cy', { verb: 'close', closing, because: 'its disk lies' });
    expect(await closeIt(said)).toMatchObject({
      id: closing,
      kind: 'operator',
      because: 'cy: its disk lies',
    });
    expect([await serves(), await confirm()]).toEqual([0, 'false: an operator has closed it: two open it']);
    expect(await kindOf(closeIt(said))).toBe('verb-refused');
    await say(await word('bo'));
    expect(await say(await word('al'))).toBe('opened by bo, al');
    expect(await kindOf(closeIt(said))).toBe('verb-refused');
    // Two words to open this one are there already: it must not be closed as the same again.
    expect(await kindOf(closeIt(await word('cy', { verb: 'close', closing })))).toBe('verb-refused');
  });
});
