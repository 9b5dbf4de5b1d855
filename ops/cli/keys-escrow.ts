import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { checksum, keyring, readRing } from '../config/keyring.ts';
import { Fault } from '../fault.ts';
import { compareRings, openEscrow, sealEscrow, type Comparison, type Escrow } from '../keyring/escrow.ts';
import { keepSecret } from '../keyring/files.ts';
import { needPassphrase } from '../passphrase.ts';
import { table, type Context } from './print.ts';
import { customerOf, openConfiguration } from './site.ts';

interface Opening {
  file: string;
  customer?: string | undefined;
  passphraseFile?: string | undefined;
}

const PASSPHRASE = 'the passphrase (or TANDEM_PASSPHRASE, or the terminal)';

/** The verbs about the copy of a ring that is kept offline. */
export function registerEscrow(group: Command, context: Context): void {
  group
    .command('escrow')
    .description('write the whole ring, encrypted, to be kept offline')
    .option('--customer <id>', 'whose keys; needed when there is more than one')
    .requiredOption('--out <file>', 'a new file; print it on paper too')
    .option('--passphrase-file <file>', PASSPHRASE)
    .addHelpText(
      'after',
      '\nLosing all copies of the keys defeats every lock: what the vaults hold can then be read by nobody, ever.',
    )
    .action((o: { customer?: string; out: string; passphraseFile?: string }) => escrow(context, o));
  group
    .command('restore')
    .description('open an escrow, compare it with the ring, and write its keys where asked')
    .argument('<file>', 'what `keys escrow` wrote')
    .option(
      '--into <folder>',
      'write each key there as CUSTOMER-ID; no configuration is needed, nothing is overwritten',
    )
    .option('--passphrase-file <file>', PASSPHRASE)
    .action((file: string, o: { into?: string; passphraseFile?: string }) =>
      o.into === undefined
        ? verifyEscrow(context, { file, passphraseFile: o.passphraseFile })
        : restore(context, { file, passphraseFile: o.passphraseFile }, o.into),
    );
}

async function escrow(context: Context, o: { customer?: string; out: string; passphraseFile?: string }): Promise<void> {
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, o.customer);
  const keys = await keyring(configuration, customer);
  const passphrase = await needPassphrase({ file: o.passphraseFile, fresh: true });
  await keepSecret(o.out, await sealEscrow(customer.id, keys, passphrase, new Date()));
  // Trusted only when opened: what lies on the disk is read again, as somebody would on the worst day.
  const { head, keys: back } = await openEscrow(o.out, passphrase);
  const differing = compareRings(back, keys.ring).filter((c) => c.says !== 'same');
  if (differing.length > 0)
    throw new Fault(`escrow ${o.out}: does not open to what was put in`, 'Write it again, to another disk.');
  context.out.answer({ customer: customer.id, file: o.out, keys: head.keys }, [
    `The ring of ${customer.id} is in ${o.out}, encrypted; it was opened again and is the same.`,
    ...sumTable(head.keys),
    'Keep two copies offline in two places, one on paper, and the passphrase apart from them.',
  ]);
  context.out.next(`tandem keys verify --customer ${customer.id} --escrow ${o.out}`);
}

const sumTable = (sums: Record<string, string>): string[] => table([['key', 'checksum'], ...Object.entries(sums)]);

async function openGiven({ file, passphraseFile }: Opening): Promise<Escrow> {
  return openEscrow(file, await needPassphrase({ file: passphraseFile, fresh: false }));
}

/** Opens an escrow and compares it with the ring of its customer: every key must be in both, and the same. */
export async function verifyEscrow(context: Context, o: Opening): Promise<void> {
  const configuration = await openConfiguration(context);
  const { head, keys } = await openGiven(o);
  const customer = customerOf(configuration, o.customer ?? head.customer);
  if (customer.id !== head.customer)
    throw new Fault(
      `escrow ${o.file}: holds the keys of ${head.customer}, not of ${customer.id}`,
      `Name its own customer: --customer ${head.customer}.`,
    );
  const ring = await readRing(configuration, customer);
  const compared = compareRings(keys, ring.keys).map(({ id, says }) => ({
    id,
    escrow: sumOf(keys.ring.get(id)),
    ring: sumOf(ring.keys.get(id)),
    says,
    because: ring.faults.get(id)?.message ?? null,
  }));
  context.out.answer({ customer: customer.id, file: o.file, madeAt: head.madeAt, keys: compared }, [
    `${o.file} opens: the keys of ${customer.id} as of ${head.madeAt}.`,
    ...table([
      ['key', 'in the escrow', 'in the ring', 'says'],
      ...compared.map((c) => [c.id, c.escrow ?? '-', c.ring ?? '-', c.says]),
    ]),
    ...compared.flatMap((c) => (c.because === null ? [] : [`Key ${c.id}: ${c.because}`])),
  ]);
  const bad = compared.filter((c) => c.says !== 'same');
  if (bad.length > 0)
    throw new Fault(
      `escrow ${o.file}: ${bad.map((c) => `key ${c.id} ${c.says === 'differs' ? 'differs from the ring' : `is ${c.says}`}`).join('; ')}`,
      adviceFor(new Set(bad.map((c) => c.says)), customer.id),
    );
}

const sumOf = (key: Buffer | undefined): string | null => (key ? checksum(key) : null);

function adviceFor(says: ReadonlySet<Comparison>, customer: string): string {
  if (says.has('differs'))
    return `Find out which is right before anything is destroyed: \`tandem keys verify --customer ${customer}\`.`;
  if (says.has('not in the escrow'))
    return `Make a new one: \`tandem keys escrow --customer ${customer} --out FILE\`; then destroy this one.`;
  return `A key that was taken out on purpose? Make a new escrow and destroy this one. Else bring it back: \`tandem keys restore FILE --into FOLDER\`.`;
}

/** Writes the keys of an escrow as files: on the worst day there is nothing else, no configuration either. */
async function restore(context: Context, o: Opening, into: string): Promise<void> {
  const { head, keys } = await openGiven(o);
  const folder = resolve(into);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const written: { id: string; file: string; checksum: string }[] = [];
  for (const [id, key] of keys.ring) {
    const file = join(folder, `${head.customer}-${id}`);
    await keepSecret(file, `${key.toString('base64')}\n`);
    written.push({ id, file, checksum: checksum(key) });
  }
  context.out.answer({ customer: head.customer, current: head.current, keys: written }, [
    `The keys of ${head.customer} as of ${head.madeAt}, readable by you alone. Compare the checksums with the paper:`,
    ...table([['key', 'checksum', 'file'], ...written.map((w) => [w.id, w.checksum, w.file])]),
    'For tandem.yaml:',
    '     keys:',
    `       current: ${head.current}`,
    '       ring:',
    ...written.map((w) => `         ${w.id}: { file: ${JSON.stringify(w.file)} }`),
  ]);
  context.out.next(`tandem keys verify --customer ${head.customer}`);
}
