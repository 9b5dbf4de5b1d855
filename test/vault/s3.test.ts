import { createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { S3Vault } from '../../activities/vault/s3.ts';
import { scratchVaults, type ScratchVaults } from '../rig/vaults.ts';
import { overwrite, remove, removeVersions } from './damage.ts';

let access: ScratchVaults;
let vault: S3Vault;
let reader: S3Vault;
beforeAll(async () => {
  access = await scratchVaults();
  vault = new S3Vault(access.east);
  reader = new S3Vault(access.eastReader);
});
afterAll(() => {
  vault.close();
  reader.close();
});

const bytes = (text: string): Buffer => Buffer.from(text);
const soon = (): Date => new Date(Date.now() + 60_000);

describe('a vault on S3', () => {
  it('never replaces what was written first, and knows its own bytes', async () => {
    expect(await vault.put('a/1', bytes('one'), { lockUntil: soon() })).toBe('stored');
    expect(await vault.put('a/1', bytes('one'))).toBe('present');
    expect(await vault.put('a/1', bytes('two'))).toBe('taken');
    expect(String(await vault.read('a/1'))).toBe('one');
  });

  it('gives one key to one of twenty writers', async () => {
    const results = await Promise.all(Array.from({ length: 20 }, (_, i) => vault.put('a/race', bytes(`w${i}`))));
    expect(results.filter((r) => r === 'stored')).toHaveLength(1);
    expect(results.filter((r) => r === 'taken')).toHaveLength(19);
  });

  it('reads and lists what newer versions and delete markers hide', async () => {
    await vault.put('h/1', bytes('good'), { lockUntil: soon() });
    await overwrite(access.eastRoot, 'h/1', 'bad');
    await remove(access.eastRoot, 'h/1');
    expect((await reader.versions('h/1')).map(String)).toEqual(['good', 'bad']);
    expect(String(await reader.read('h/1', { offset: 1, length: 2 }))).toBe('oo');
    const found: { key: string; bytes: number }[] = [];
    for await (const entry of reader.list('h/')) found.push({ key: entry.key, bytes: entry.bytes });
    expect(found).toEqual([{ key: 'h/1', bytes: 4 }]);
  });

  it('locks a version until its time', async () => {
    await vault.put('l/1', bytes('locked'), { lockUntil: soon() });
    await expect(removeVersions(access.eastRoot, 'l/1')).rejects.toThrow();
    expect(String(await vault.read('l/1'))).toBe('locked');
  });

  it('lists in byte order after a key, over more than one page', async () => {
    const keys = Array.from({ length: 1100 }, (_, i) => `p/${String(i).padStart(5, '0')}`);
    for (let at = 0; at < keys.length; at += 50)
      await Promise.all(keys.slice(at, at + 50).map((key) => vault.put(key, bytes('x'))));
    const found: string[] = [];
    for await (const { key } of vault.list('p/', { after: 'p/00003' })) found.push(key);
    expect(found).toEqual(keys.slice(4));
  });

  it('answers null for what is not there, and no bytes past the end', async () => {
    expect(await vault.read('nothing')).toBeNull();
    expect(await vault.versions('nothing')).toEqual([]);
    await vault.put('e/1', bytes('abc'));
    expect(await vault.read('e/1', { offset: 10, length: 4 })).toEqual(Buffer.alloc(0));
  });

  it('says vault-refused for credentials that may only read, without naming them', async () => {
    const error: unknown = await reader.put('r/1', bytes('x')).catch((e: unknown) => e);
    expect(error).toMatchObject({
      type: 'vault-refused',
      message: expect.stringContaining('vault east: store r/') as string,
    });
    expect(String(error)).not.toContain(access.eastReader.secretAccessKey);
    const unknown = new S3Vault({ ...access.east, bucket: 'no-such-bucket' });
    await expect(unknown.read('x/1')).rejects.toMatchObject({ type: 'vault-refused' });
    unknown.close();
  });

  it('gives a dead site up within seconds: port closed, or nobody answering', async () => {
    const closed = new S3Vault({ ...access.east, endpoint: 'http://127.0.0.1:1' });
    const start = Date.now();
    await expect(closed.read('x/1')).rejects.toMatchObject({ type: 'vault-unreachable' });
    expect(Date.now() - start).toBeLessThan(3000);
    closed.close();
    const silent = createServer(() => undefined); // Accepts, and never says a word.
    await new Promise<void>((done) => silent.listen(0, '127.0.0.1', done));
    const address = silent.address();
    const port = typeof address === 'object' ? address?.port : 0;
    const hung = new S3Vault({ ...access.east, endpoint: `http://127.0.0.1:${port}` });
    const since = Date.now();
    await expect(hung.read('x/1', undefined, { signal: AbortSignal.timeout(500) })).rejects.toThrow(/timeout|abort/i);
    expect(Date.now() - since).toBeLessThan(2000);
    hung.close();
    silent.close();
  });
});
