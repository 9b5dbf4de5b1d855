import { generateKeyPairSync, sign } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import { acceptRemovals, removalText, type RemovalWord } from '../../activities/directory/accept.ts';
import { rawHex } from '../../ops/keys.ts';
import { failureKind } from '../../workflows/model/failures.ts';
import {
  add,
  aDayLater,
  CUSTOMER,
  databases,
  enabled,
  follow,
  groundForEach,
  people,
  query,
  remove,
  state,
} from './ground.ts';

/** What an operator says to an answer that would disable too many. */

groundForEach();

describe('an operator', () => {
  const keys = generateKeyPairSync('ed25519');
  const operators = [
    { id: 'al', key: rawHex(keys.publicKey), roles: ['approve' as const] },
    { id: 'bo', key: rawHex(keys.publicKey), roles: ['operate' as const] },
  ];
  const word = async (change: Partial<RemovalWord> = {}): Promise<RemovalWord> => {
    const held = (await state())?.held;
    const said = {
      customer: CUSTOMER,
      site: 'west',
      digest: held?.digest ?? '',
      removed: held?.removed ?? 0,
      operator: 'al',
      because: 'the branch in Oslo has closed',
      at: new Date().toISOString(),
      ...change,
    };
    return {
      ...said,
      signature: change.signature ?? sign(null, Buffer.from(removalText(said)), keys.privateKey).toString('hex'),
    };
  };
  const accept = async (change: Partial<RemovalWord> = {}): Promise<unknown> =>
    acceptRemovals(databases.west, operators, await word(change)).then(
      () => 'accepted',
      (error: unknown) => failureKind(error) ?? error,
    );
  beforeEach(async () => {
    add(100);
    await follow();
    remove(30);
    await follow();
  });

  it('accepts nothing by a word that is not his, nor for another answer than he saw', async () => {
    expect(await accept({ operator: 'bo' })).toBe('signature-invalid');
    expect(await accept({ signature: '00'.repeat(64) })).toBe('signature-invalid');
    expect(await accept({ digest: '0'.repeat(64) })).toBe('input-invalid');
    expect(await accept({ removed: 3 })).toBe('input-invalid');
    expect((await follow()).state).toBe('held');
    expect(await enabled()).toBe(100);
  });

  it('accepts these users and no others: whoever goes beyond them is held again', async () => {
    const seen = await word();
    remove(20);
    await follow();
    expect(await accept(seen)).toBe('input-invalid');
    expect(await accept()).toBe('accepted');
    remove(4);
    expect(await follow()).toMatchObject({ state: 'held', held: { removed: 4 } });
    expect(await enabled()).toBe(100);
    expect(await accept()).toBe('accepted');
    expect(await follow()).toMatchObject({ state: 'applied', counts: { disabled: 54 } });
    expect(await enabled()).toBe(46);
    expect(await accept()).toBe('input-invalid'); // There is nothing to accept any more.
  });

  it('accepts them once: what he accepted does not count against the hour, and nothing of it lasts', async () => {
    const user99 = [...Array(30).keys()].map((i) => `user${i + 70}`);
    expect(await accept()).toBe('accepted');
    expect((await follow()).state).toBe('applied');
    remove(3);
    expect((await follow()).state).toBe('applied');
    await aDayLater();
    for (const name of user99) people.set(name, {});
    expect(await follow()).toMatchObject({ state: 'applied', counts: { enabled: 30 } });
    for (const name of user99) people.delete(name);
    expect(await follow()).toMatchObject({ state: 'held', held: { removed: 30 } });
  });

  it('need not do anything when the directory comes to itself', async () => {
    for (let i = 70; i < 100; i += 1) people.set(`user${i}`, {});
    expect((await follow()).state).toBe('applied');
    expect([await enabled(), (await state())?.held]).toEqual([100, null]);
    expect(await query('select from tandem.directory_removal')).toEqual([]);
  });
});
