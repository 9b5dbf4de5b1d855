import { createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import type { Command } from 'commander';
import { Fault } from '../fault.ts';
import { openSshLine } from '../keys.ts';
import { keepSecret } from '../keyring/files.ts';
import { givenPassphrase } from '../passphrase.ts';
import { registerAdmit } from './keys-admit.ts';
import { registerEscrow } from './keys-escrow.ts';
import { registerRing } from './keys-ring.ts';
import type { Context } from './print.ts';

export function register(program: Command, context: Context): void {
  const { out } = context;
  const group = program
    .command('keys')
    .description('keys of operators, sites and customers')
    .addHelpText(
      'after',
      '\nWhoever loses every copy of a customer’s keys has lost every snapshot under them: no lock of a vault helps then, so keep an escrow offline.',
    );
  registerRing(group, context);
  registerEscrow(group, context);
  registerAdmit(group, context);
  group
    .command('new')
    .description('make a key; an existing file is never overwritten')
    .argument('<kind>', 'operator, site or customer')
    .requiredOption('--out <file>', 'where the secret half goes, readable by you alone')
    .option('--id <id>', 'the id of the operator or of the customer’s key', 'NAME')
    .option('--passphrase-file <file>', 'encrypt an operator’s key with this passphrase (or TANDEM_PASSPHRASE)')
    .action(async (kind: string, o: { out: string; id: string; passphraseFile?: string }) => {
      if (kind === 'customer') {
        await keepSecret(o.out, `${randomBytes(32).toString('base64')}\n`);
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
      const passphrase = await givenPassphrase(o.passphraseFile);
      const { privateKey } = generateKeyPairSync('ed25519');
      const encrypted = passphrase ? { cipher: 'aes-256-cbc', passphrase } : {};
      await keepSecret(o.out, privateKey.export({ format: 'pem', type: 'pkcs8', ...encrypted }));
      const publicKey = openSshLine(createPublicKey(privateKey));
      const line =
        kind === 'operator'
          ? `  ${o.id}: { key: "${publicKey}", roles: [declare, approve, operate] }`
          : `  signing: { public-key: "${publicKey}", private-key: { file: ${o.out} } }`;
      out.answer({ kind, file: o.out, publicKey, encrypted: Boolean(passphrase) }, [
        `The private key is in ${o.out}${passphrase ? ', encrypted' : ', NOT encrypted'}. For tandem.yaml:`,
        line,
        ...(kind === 'operator'
          ? [
              'One of two who sign is a commander: give that role to some of them as well.',
              'It signs where `tandem` runs. To sign on a machine without it take a key of `ssh-keygen -t ed25519` instead.',
            ]
          : []),
      ]);
    });
}
