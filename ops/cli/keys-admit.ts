import { InvalidArgumentError, type Command } from 'commander';
import { stringify } from 'yaml';
import { admissionText } from '../../activities/services/admission.ts';
import type { Admission, Operator } from '../../activities/settings.ts';
import { Fault } from '../fault.ts';
import { signWith } from '../signer.ts';
import { readSigned, signingLine, writeForSigning } from './paste.ts';
import type { Context } from './print.ts';
import { openConfiguration } from './site.ts';

interface Admit {
  operator: string;
  by?: string;
  key?: string;
  passphraseFile?: string;
  print?: string;
  signed?: string;
}

export function registerAdmit(group: Command, context: Context): void {
  group
    .command('admit')
    .description('sign that an operator counts, or a change of his key, roles or expiry; it takes two, one a commander')
    .requiredOption('--operator <id>', 'who is admitted, as he stands in the configuration')
    .option('--by <id>', 'who signs')
    .option('--key <file>', 'his private key, PKCS8 PEM or of OpenSSH')
    .option('--passphrase-file <file>', 'opens an encrypted PEM key (or TANDEM_PASSPHRASE)')
    .option('--print <file>', 'write what is to be signed elsewhere: ssh-keygen -Y sign -n tandem -f KEY FILE')
    .option('--signed <file>', 'take what was signed so')
    .action((o: Admit) => admit(context, o));
}

async function admit(context: Context, o: Admit): Promise<void> {
  const { operators, file } = await openConfiguration(context);
  const operator = operators.find((one) => one.id === o.operator);
  if (!operator)
    throw new Fault(`operator ${o.operator}: not in ${file}`, 'Write his entry into it first: id, key, roles.');
  if (o.signed !== undefined)
    return told(context, operator, await readSigned<Admission>(o.signed, 'tandem keys admit'));
  const { by, key, print } = o;
  if (by === undefined || (key === undefined && print === undefined))
    throw new InvalidArgumentError('keys admit: lacks --by ID, and --key FILE or --print FILE to sign elsewhere');
  if (!operators.some((one) => one.id === by)) throw new Fault(`operator ${by}: not in ${file}`, 'Name one who is.');
  const at = new Date().toISOString();
  const text = admissionText(operator, { by, at });
  if (print === undefined) {
    const signature = await signWith(key ?? '', text, o.passphraseFile);
    return told(context, operator, { by, at, signature });
  }
  await writeForSigning(print, text, { by, at });
  context.out.answer({ file: print, text }, [text, signingLine(print)]);
  context.out.next(`tandem keys admit --operator ${operator.id} --signed ${print}`);
}

/** With those who signed before: the entry is pasted whole. */
function told(context: Context, { id, admitted = [] }: Operator, one: Admission): void {
  const all = [...admitted.filter((a) => a.by !== one.by), one];
  context.out.answer({ operator: id, admitted: all }, [
    `Paste this into the entry of ${id}, at both sites, and restart their workers:`,
    '',
    ...stringify({ admitted: all }, { lineWidth: 0 })
      .trimEnd()
      .split('\n')
      .map((line) => `    ${line}`),
  ]);
  context.out.next(all.length < 2 ? `tandem keys admit --operator ${id} --by ID --key FILE` : 'tandem doctor');
}
