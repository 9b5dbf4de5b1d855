import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parse, stringify } from 'yaml';
import { expect, inject } from 'vitest';
import { openSshLine } from '../../ops/keys.ts';
import { typed, type Said } from '../rig/cli.ts';
import { CUSTOMER, type World } from '../vault/world.ts';

/** A ring as a configuration names it. */
export type Ring = Record<string, { file: string } | { env: string }>;

export interface Tree {
  sites: Record<string, { vault: Record<string, unknown>; signing: Record<string, unknown> }>;
  customers: Record<string, Record<string, unknown>>;
}

export const PASSPHRASE = 'correct horse battery staple';

/** A folder with keys, each in a file of its own id, and a passphrase. */
export interface KeyFolder {
  folder: string;
  keys: Record<'k1' | 'k2' | 'k3', Buffer>;
  /** The stack's own configuration, for the customer of the vault tests with this ring, and for a world's vaults. */
  configure: (ring: Ring, current: string, change?: (tree: Tree) => unknown) => Promise<string>;
  /** Types `tandem keys …`; whatever it says, it says no key. */
  run: (args: string[], file: string, env?: Record<string, string>) => Promise<Said>;
  drop: () => Promise<void>;
}

export async function openKeyFolder(world: World | null): Promise<KeyFolder> {
  const folder = await mkdtemp(join(tmpdir(), 'tandem-keys-'));
  const keys = { k1: randomBytes(32), k2: randomBytes(32), k3: randomBytes(32) };
  const secret = (name: string, text: string | Buffer): Promise<void> =>
    writeFile(join(folder, name), text, { mode: 0o600 });
  for (const [id, key] of Object.entries(keys)) await secret(id, `${key.toString('base64')}\n`);
  for (const [site, key] of Object.entries(world?.signingKeys ?? {}))
    await secret(`${site}.pem`, key.export({ format: 'pem', type: 'pkcs8' }));
  await secret('passphrase', PASSPHRASE);
  return {
    folder,
    keys,
    async configure(ring, current, change = () => undefined) {
      const { configuration } = inject('stack');
      const text = await readFile(configuration, 'utf8');
      const tree = parse(text.replaceAll('secrets/', `${dirname(configuration)}/secrets/`)) as Tree;
      if (world) moveTo(world, tree);
      tree.customers = { [CUSTOMER]: { ...tree.customers['contoso'], keys: { current, ring } } };
      change(tree);
      const file = join(folder, `${randomBytes(4).toString('hex')}.yaml`);
      await writeFile(file, stringify(tree));
      return file;
    },
    async run(args, file, env = {}) {
      const said = await typed(folder, ['keys', ...args], { TANDEM_CONFIG: file, ...env });
      for (const hidden of [...Object.values(keys).map((key) => key.toString('base64')), PASSPHRASE])
        expect(said.out + said.err).not.toContain(hidden);
      return said;
    },
    drop: () => rm(folder, { recursive: true, force: true }),
  };
}

function moveTo(world: World, tree: Tree): void {
  for (const site of ['east', 'west'] as const) {
    const publicKey = world.publicKeys.get(site);
    Object.assign(tree.sites[site]?.vault ?? {}, { bucket: world.access[site].bucket });
    Object.assign(tree.sites[site]?.signing ?? {}, {
      'public-key': publicKey && openSshLine(publicKey),
      'private-key': { file: `${site}.pem` },
    });
  }
}
