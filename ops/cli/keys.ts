import { createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { Fault } from '../fault.ts';
import { openSshLine, readSecretFile } from '../keys.ts';
import type { Context } from './print.ts';

export function register(program: Command, { out }: Context): void {
  const group = program.command('keys').description('keys of operators, sites and customers');
  group
    .command('new')
    .description('make a key; an existing file is never overwritten')
    .argument('<kind>', 'operator, site or customer')
    .requiredOption('--out <file>', 'where the secret half goes, readable by you alone')
    .option('--id <id>', 'the id of the operator or of the customer’s key', 'NAME')
    .option('--passphrase-file <file>', 'encrypt an operator’s key with this passphrase (or TANDEM_PASSPHRASE)')
    .action(async (kind: string, o: { out: string; id: string; passphraseFile?: string }) => {
      if (kind === 'customer') {
        await keep(o.out, `${randomBytes(32).toString('base64')}\n`);
        out.answer({ kind, file: o.out }, [
          `A customer's key is in ${o.out}. Add it to the ring at both sites, keep a copy offline:`,
          `  keys: { current: ${o.id}, ring: { ${o.id}: { file: ${o.out} } } }`,
        ]);
        return;
      }
      if (kind !== 'operator' && kind !== 'site')
        throw new Fault(
          `kind ${JSON.stringify(kind)}: operator, site and customer are allowed`,
          '`tandem keys new operator --id ID --out FILE`',
        );
      const passphrase =
        o.passphraseFile === undefined
          ? process.env['TANDEM_PASSPHRASE']
          : await readSecretFile(o.passphraseFile, 'passphrase file');
      const { privateKey } = generateKeyPairSync('ed25519');
      const encrypted = passphrase ? { cipher: 'aes-256-cbc', passphrase } : {};
      await keep(o.out, privateKey.export({ format: 'pem', type: 'pkcs8', ...encrypted }));
      const publicKey = openSshLine(createPublicKey(privateKey));
      const line =
        kind === 'operator'
          ? `  ${o.id}: { key: "${publicKey}", roles: [approve] }`
          : `  signing: { public-key: "${publicKey}", private-key: { file: ${o.out} } }`;
      out.answer({ kind, file: o.out, publicKey, encrypted: Boolean(passphrase) }, [
        `The private key is in ${o.out}${passphrase ? ', encrypted' : ', NOT encrypted'}. For tandem.yaml:`,
        line,
      ]);
    });
}

async function keep(file: string, secret: string | Buffer): Promise<void> {
  try {
    await writeFile(file, secret, { flag: 'wx', mode: 0o600 });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST')
      throw new Fault(`${file}: exists already`, 'Choose another name: a key is never overwritten.');
    throw new Fault(`${file}: cannot be written (${message})`, 'Choose a folder that exists and is yours.');
  }
}
