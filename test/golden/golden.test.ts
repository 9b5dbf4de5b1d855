import { createPublicKey, hash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isAccepted, readAcceptances } from '../../activities/vault/accept.ts';
import { coveredSnapshots, readReceipt, type Shelf } from '../../activities/vault/catalog.ts';
import { openSnapshot } from '../../activities/vault/open.ts';
import { fetchPack, openPack, rangesOf } from '../../activities/vault/pack-reader.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { scratchVaults } from '../rig/vaults.ts';
import { openAll } from '../walk/look.ts';
import { SecondReader, type GoldenKeys, type Rows } from './reader.ts';

/**
 * Every build reads these files for ever: what a customer's vault holds must open in 35 days as it does today. They are
 * never made anew, and a test that fails here is mended in the code.
 */
const folder = fileURLToPath(new URL('format-1/', import.meta.url));
const [east, west] = ['east', 'west'] as const;
const gen = 1;

let keys: GoldenKeys;
let expected: Record<string, Record<string, Rows>>;
let reader: SecondReader;
let vault: S3Vault;
let shelf: Shelf;
beforeAll(async () => {
  keys = JSON.parse(await readFile(join(folder, 'keys.json'), 'utf8')) as GoldenKeys;
  expected = JSON.parse(await readFile(join(folder, 'expected.json'), 'utf8')) as typeof expected;
  reader = new SecondReader(join(folder, 'vault'), keys);
  vault = new S3Vault((await scratchVaults()).west);
  for (const key of reader.list()) await vault.put(key, await readFile(join(folder, 'vault', key)));
  const spki = (hex: string): Buffer => Buffer.from(`302a300506032b6570032100${hex}`, 'hex');
  const publicKeys = new Map(
    Object.entries(keys.sites).map(([site, hex]) => [
      site,
      createPublicKey({ key: spki(hex), format: 'der', type: 'spki' }),
    ]),
  );
  shelf = { vault, customer: 'acme', site: east, publicKeys };
});
afterAll(() => vault.close());

const ring = () => ({
  current: 'k1',
  ring: new Map(Object.entries(keys.customer).map(([id, hex]) => [id, Buffer.from(hex, 'hex')])),
});
const open = (seq: number) => openSnapshot({ ...shelf, keys: ring(), id: { customer: 'acme', site: east, gen, seq } });

/** Long texts as the expected file has them. */
const short = (rows: Rows): Rows =>
  JSON.parse(JSON.stringify(rows), (_key, value: unknown) =>
    typeof value === 'string' && value.length > 1000
      ? `${value.length} characters, sha256 ${hash('sha256', value)}`
      : value,
  ) as Rows;

describe('the golden vault', () => {
  it('opens to the very rows that went into it, under both codecs, and forgets who is gone', async () => {
    const codecs = new Set<number | undefined>();
    for (const [seq, users] of Object.entries(expected)) {
      const opened = await open(Number(seq));
      const found: Record<string, Rows> = {};
      for await (const { username, rows } of opened.records()) found[username] = short(rows);
      expect(found).toEqual(users);
      for (const ref of opened.manifest.packs) {
        const bytes = await fetchPack(vault, opened.manifest, ref);
        const pack = await openPack(rangesOf(bytes, ref.footer, 'golden'), ring(), opened.manifest, ref.keyId);
        for (const n of pack.footer.frames.keys()) codecs.add((await pack.compressed(n))[0]);
      }
    }
    expect(codecs).toEqual(new Set([2, 1]));
    expect(await (await open(2)).record('gone')).toBeNull();
    expect((await (await open(1)).record('gone'))?.rows.contacts).toHaveLength(1);
  });

  it('holds signatures, chain, set of users and counts; its receipts count, the suspect one as it was accepted', async () => {
    await openAll(shelf, ring(), west);
    const covered: number[] = [];
    for await (const { summary } of coveredSnapshots(shelf, west)) covered.push(summary.seq);
    expect(covered).toEqual([2, 1]);
    const receipt = await readReceipt(shelf, west, { customer: 'acme', site: east, gen, seq: 2 });
    expect(receipt?.suspect).toBe('1 of 6 users are gone');
    const acceptances = await readAcceptances(vault, shelf, west, shelf.publicKeys);
    expect(receipt && isAccepted(receipt, acceptances)).toBe(true);
    expect(receipt && isAccepted(receipt, [])).toBe(false);
  });
});

describe('a reader made from the page of the format alone', () => {
  it('finds the same rows', () => {
    for (const [seq, users] of Object.entries(expected)) {
      const found = [...reader.snapshot('acme', east, gen, Number(seq))].map(([name, rows]) => [name, short(rows)]);
      expect(Object.fromEntries(found)).toEqual(users);
    }
  });

  it('checks what the covering site and the operator have signed', () => {
    const signed = reader.list().filter((key) => key.startsWith('acme/west/'));
    expect(signed).toEqual([
      'acme/west/accepted/east/0000000002-operator-1.json',
      'acme/west/receipts/east/0000000001-0000000001.json',
      'acme/west/receipts/east/0000000001-0000000002.json',
    ]);
    const [accepted = '', , receipt = ''] = signed;
    expect(reader.signed(receipt, 'receipt', west)).toMatchObject({ format: 1, suspect: '1 of 6 users are gone' });
    expect(reader.acceptance(accepted, west)).toMatchObject({ because: 'He left: "gone" — as agreed.' });
    expect(() => reader.signed(receipt, 'acceptance', west)).toThrow('not signed');
  });
});
