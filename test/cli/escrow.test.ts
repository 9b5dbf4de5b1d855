import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checksum } from '../../ops/config/keyring.ts';
import { openEscrow } from '../../ops/keyring/escrow.ts';
import { openKeyFolder, PASSPHRASE, type KeyFolder, type Ring } from './ring.ts';

let at: KeyFolder;
const whole: Ring = { k1: { file: 'k1' }, k2: { file: 'k2' } };
beforeAll(async () => {
  at = await openKeyFolder(null);
});
afterAll(() => at.drop());

describe('an escrow', () => {
  const given = ['--passphrase-file', 'passphrase'];

  it('holds the whole ring, opens with its passphrase alone, and brings every key back', async () => {
    const file = await at.configure(whole, 'k2');
    const made = await at.run(['escrow', '--out', 'escrow.json', ...given], file);
    expect(made).toMatchObject({ code: 0, err: '' });
    expect(made.out).toMatch(new RegExp(`^k1 +${checksum(at.keys.k1)}$`, 'm'));
    const text = await readFile(join(at.folder, 'escrow.json'), 'utf8');
    for (const key of Object.values(at.keys)) expect(text).not.toContain(key.toString('base64'));
    expect((await stat(join(at.folder, 'escrow.json'))).mode & 0o777).toBe(0o600);
    expect((await at.run(['verify', '--escrow', 'escrow.json', ...given], file)).code).toBe(0);
    expect((await at.run(['restore', 'escrow.json', ...given], file)).code).toBe(0);

    const back = await at.run(['restore', 'escrow.json', '--into', 'back', ...given], 'no-configuration.yaml');
    expect(back.code).toBe(0);
    expect((await readdir(join(at.folder, 'back'))).toSorted()).toEqual(['acme-k1', 'acme-k2']);
    expect(await readFile(join(at.folder, 'back', 'acme-k2'), 'utf8')).toBe(`${at.keys.k2.toString('base64')}\n`);
    expect((await at.run(['restore', 'escrow.json', '--into', 'back', ...given], file)).err).toMatch(/exists already/);
    expect((await at.run(['escrow', '--out', 'escrow.json', ...given], file)).err).toMatch(/exists already/);
    expect(await readFile(join(at.folder, 'escrow.json'), 'utf8')).toBe(text);
  });

  it('does not open with another passphrase, cut, or with any word of it changed', async () => {
    const file = join(at.folder, 'escrow.json');
    const text = await readFile(file, 'utf8');
    const wrong = await at.run(['verify', '--escrow', 'escrow.json'], await at.configure(whole, 'k2'), {
      TANDEM_PASSPHRASE: 'incorrect horse battery',
    });
    expect(wrong.err).toMatch(/this passphrase does not open it, or the file was changed\nTry: /);
    expect(wrong.code).toBe(1);
    const changes = [
      text.replace('"acme"', '"acmf"'),
      text.replace(checksum(at.keys.k1), checksum(at.keys.k2)),
      text.replace('"current": "k2"', '"current": "k1"'),
      text.replace(/"sealed": "../, '"sealed": "AA'),
      text.replace('131072', '65536'),
      text.replace('131072', '1099511627776'), // More memory than any machine has: refused unread.
      text.slice(0, -40),
      '[]',
    ];
    for (const change of changes) {
      expect(change).not.toBe(text);
      await writeFile(join(at.folder, 'changed.json'), change);
      await expect(openEscrow(join(at.folder, 'changed.json'), PASSPHRASE)).rejects.toThrow(
        /^escrow .*changed\.json: /,
      );
    }
  });

  it('fails when it is not the ring, and says in what', async () => {
    const verify = async (ring: Ring, current: string): Promise<string> => {
      const { code, err } = await at.run(
        ['verify', '--escrow', 'escrow.json', ...given],
        await at.configure(ring, current),
      );
      expect(code).toBe(1);
      return err;
    };
    expect(await verify({ ...whole, k3: { file: 'k3' } }, 'k2')).toMatch(
      /key k3 is not in the escrow\nTry: Make a new/,
    );
    expect(await verify({ k2: { file: 'k2' } }, 'k2')).toMatch(/key k1 is not in the ring\nTry: /);
    expect(await verify({ ...whole, k1: { file: 'k3' } }, 'k2')).toMatch(/key k1 differs from the ring\nTry: /);
  });

  it('takes no short passphrase, and none that others can read; without a terminal it asks nobody', async () => {
    const file = await at.configure(whole, 'k2');
    const escrow = async (env: Record<string, string>, ...args: string[]): Promise<string> =>
      (await at.run(['escrow', '--out', 'never.json', ...args], file, env)).err;
    expect(await escrow({ TANDEM_PASSPHRASE: 'short' })).toMatch(/5 characters, at least 12 are expected/);
    expect(await escrow({ TANDEM_PASSPHRASE: '' })).toMatch(/none is given, and there is no terminal/);
    await writeFile(join(at.folder, 'public'), PASSPHRASE, { mode: 0o644 });
    expect(await escrow({}, '--passphrase-file', 'public')).toMatch(/others than its owner can read it/);
    expect(await readdir(at.folder)).not.toContain('never.json');
  });

  it('is warned of in the help: without any copy no lock helps', async () => {
    const { out } = await at.run(['escrow', '--help'], '');
    expect(out).toMatch(/Losing all copies of the keys defeats every lock/);
  });
});
