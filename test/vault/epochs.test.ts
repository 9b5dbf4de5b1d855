import { generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { claimEpoch, nextEpoch, readClaims } from '../../activities/vault/epochs.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { seal } from '../../activities/vault/signed.ts';
import type { Epoch } from '../../workflows/model/epoch.ts';
import { scratchVaults, type ScratchVaults } from '../rig/vaults.ts';

const pairs = { east: generateKeyPairSync('ed25519'), west: generateKeyPairSync('ed25519') };
const stranger = generateKeyPairSync('ed25519').privateKey;
const publicKeys = new Map(Object.entries(pairs).map(([site, { publicKey }]) => [site, publicKey]));
type Site = keyof typeof pairs;

let stores: Record<Site, S3Vault> & { root: S3Vault };
let access: ScratchVaults['witness'];
let customer = 'c0';
beforeAll(async () => {
  ({ witness: access } = await scratchVaults());
  const witness = access;
  stores = { east: new S3Vault(witness.east), west: new S3Vault(witness.west), root: new S3Vault(witness.root) };
});
afterAll(() => Object.values(stores).forEach((s) => s.close()));
beforeEach(() => {
  customer = `c${Number(customer.slice(1)) + 1}`;
});

const claim = (site: Site, number: number, move: string): Promise<Epoch | null> =>
  claimEpoch(stores[site], { site, signingKey: pairs[site].privateKey, publicKeys }, customer, { number, site, move });
const newest = async (): Promise<Epoch | null> => (await readClaims(stores.east, customer, { publicKeys })).newest;
const key = (number: number): string => `${customer}/epochs/${number}.json`;

describe('a store of claims never', () => {
  it('accepts a lower number than it holds, of whichever site, nor the same of another move', async () => {
    expect(await claim('east', 5, 'e')).toBeNull();
    const held = { number: 5, site: 'east', move: 'e' };
    for (const site of ['east', 'west'] as const) expect(await claim(site, 4, 'w')).toEqual(held);
    expect(await claim('west', 5, 'w')).toEqual(held);
    expect(await claim('east', 5, 'other')).toEqual(held);
    expect((await readClaims(stores.root, customer, { publicKeys })).taken).toEqual(new Set([5]));
    expect(await newest()).toEqual(held);
  });

  it('takes an old claim for good again, once a newer one stands there', async () => {
    expect(await claim('east', 2, 'e')).toBeNull();
    expect(await claim('west', 3, 'w')).toBeNull();
    expect(await claim('east', 2, 'e')).toMatchObject({ number: 3, move: 'w' });
  });

  it('has two winners of one number, of twenty who claim it at once from both sites', async () => {
    for (const number of [7, 8]) {
      const answers = await Promise.all(
        Array.from({ length: 20 }, async (_, i) => {
          const site = i % 2 === 0 ? 'east' : 'west';
          return { move: `m${number}-${i}`, against: await claim(site, number, `m${number}-${i}`) };
        }),
      );
      const winners = answers.filter((a) => a.against === null);
      expect(winners).toHaveLength(1);
      expect(new Set(answers.flatMap((a) => a.against?.move ?? []))).toEqual(new Set([winners[0]?.move]));
      expect(await newest()).toMatchObject({ number, move: winners[0]?.move });
    }
  });

  it('lets a lower number win that began when a higher one stood there: twenty numbers at once', async () => {
    const finished: number[] = [];
    const wrong: string[] = [];
    await Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        const number = i + 1;
        const doneBefore = [...finished];
        const against = await claim(i % 2 === 0 ? 'east' : 'west', number, `m${number}`);
        if (against === null ? doneBefore.some((n) => n > number) : against.number <= number) wrong.push(`${number}`);
        if (against === null) finished.push(number);
      }),
    );
    expect(wrong).toEqual([]);
    expect(finished).toContain(20); // Nothing stands against the highest.
    expect(await newest()).toMatchObject({ number: 20 });
    for (const number of [1, 10, 19]) expect(await claim('west', number, 'late')).toMatchObject({ number: 20 });
  });

  it('lets a lower number win when a higher one came between its reading and its writing', async () => {
    class Slow extends S3Vault {
      override async put(...args: Parameters<S3Vault['put']>): ReturnType<S3Vault['put']> {
        await claim('east', 4, 'e');
        return super.put(...args);
      }
    }
    const slow = new Slow(access.west);
    const west = { site: 'west', signingKey: pairs.west.privateKey, publicKeys };
    const against = await claimEpoch(slow, west, customer, { number: 3, site: 'west', move: 'w' });
    slow.close();
    expect(against).toEqual({ number: 4, site: 'east', move: 'e' });
  });

  it('believes a claim that nobody signed, or that was signed for another number, site or customer', async () => {
    expect(await claim('west', 2, 'w')).toBeNull();
    const forged: [number, Buffer][] = [
      [900, Buffer.from('{')],
      [901, seal('epoch', 'east', stranger, { customer, number: 901, site: 'east', move: 'x' })],
      [902, seal('epoch', 'east', pairs.east.privateKey, { customer, number: 3, site: 'east', move: 'x' })],
      [903, seal('epoch', 'east', pairs.east.privateKey, { customer, number: 903, site: 'west', move: 'x' })],
      [904, seal('epoch', 'east', pairs.east.privateKey, { customer: 'other', number: 904, site: 'east', move: 'x' })],
      [905, seal('report', 'east', pairs.east.privateKey, { customer, number: 905, site: 'east', move: 'x' })],
    ];
    for (const [number, bytes] of forged) await stores.east.put(key(number), bytes);
    expect(await newest()).toEqual({ number: 2, site: 'west', move: 'w' });
    expect(await claim('west', 3, 'next')).toBeNull();
    // Such a number is spent: nobody wins it, and none is offered.
    expect(await claim('west', 901, 'late')).toMatchObject({ number: 901, site: '?' });
    const claims = await readClaims(stores.west, customer, { publicKeys });
    expect(nextEpoch([claims], 899)).toBe(906);
  });

  it('forgets a claim that other bytes were written over, or that was deleted by a marker', async () => {
    expect(await claim('east', 4, 'e')).toBeNull();
    await stores.root.mend(
      key(4),
      seal('epoch', 'west', pairs.west.privateKey, { customer, number: 4, site: 'west', move: 'w' }),
    );
    expect(await newest()).toEqual({ number: 4, site: 'east', move: 'e' });
    expect(await claim('west', 4, 'w')).toMatchObject({ move: 'e' });
  });
});

it('a claim is repeated by its own move as often as it likes', async () => {
  for (let i = 0; i < 3; i += 1) expect(await claim('east', 6, 'e')).toBeNull();
  expect(await stores.root.versions(key(6))).toHaveLength(1);
});
