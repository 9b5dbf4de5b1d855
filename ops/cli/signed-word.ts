import { randomBytes } from 'node:crypto';
import { InvalidArgumentError, type Command } from 'commander';
import { SIGNATURE_LIFE_MS } from '../../workflows/model/approvals.ts';
import { signWith } from '../signer.ts';
import { readSigned, signingLine, writeForSigning } from './paste.ts';
import type { Context } from './print.ts';

/** A word that an operator signs with his reason: here with his key, or elsewhere, by a file. */

export interface WordOptions {
  operator?: string;
  key?: string;
  because?: string;
  passphraseFile?: string;
  print?: string;
  signed?: string;
}

/** What every such command takes. */
export const signedOptions = (command: Command): Command =>
  command
    .option('--because <text>', 'the reason; kept with the signature')
    .option('--operator <id>', 'who signs')
    .option('--key <file>', 'his private key, PKCS8 PEM or of OpenSSH')
    .option('--passphrase-file <file>', 'opens an encrypted PEM key (or TANDEM_PASSPHRASE)')
    .option('--print <file>', 'write what is to be signed elsewhere: ssh-keygen -Y sign -n tandem -f KEY FILE')
    .option('--signed <file>', 'take what was signed so');

/** What is drafted beside what the word is about. */
interface Drafted {
  operator: string;
  because: string;
  nonce: string;
  expires: string;
}

interface Asked<About> {
  /** The command, for whoever left something out. */
  verb: string;
  about: About;
  /** What is signed. */
  textOf: (draft: About & Drafted) => string;
  /** The command that takes what was signed elsewhere, without its last option. */
  again: string;
}

/** The signed word; null when its text was written, to be signed elsewhere. */
export async function signedWord<About extends object>(
  context: Context,
  o: WordOptions,
  { verb, about, textOf, again }: Asked<About>,
): Promise<(About & Drafted & { signature: string }) | null> {
  if (o.signed !== undefined) return readSigned(o.signed, `tandem ${verb}`);
  const { operator, because, key, print } = o;
  if (operator === undefined || because === undefined || (key === undefined && print === undefined))
    throw new InvalidArgumentError(
      `${verb}: lacks --because TEXT, --operator ID, and --key FILE or --print FILE to sign elsewhere`,
    );
  const draft = {
    ...about,
    operator,
    because,
    nonce: randomBytes(16).toString('hex'),
    expires: new Date(Date.now() + SIGNATURE_LIFE_MS).toISOString(),
  };
  const text = textOf(draft);
  if (print === undefined) return { ...draft, signature: await signWith(key ?? '', text, o.passphraseFile) };
  await writeForSigning(print, text, draft);
  context.out.answer({ file: print, text }, [text, signingLine(print, `, before ${draft.expires}`)]);
  context.out.next(`${again} --signed ${print}`);
  return null;
}
