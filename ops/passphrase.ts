import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { Fault } from './fault.ts';
import { readSecretFile } from './keys.ts';

/** A passphrase from its file or from TANDEM_PASSPHRASE; undefined when neither is given. Never from an argument. */
export async function givenPassphrase(file: string | undefined): Promise<string | undefined> {
  if (file !== undefined) return readSecretFile(file, 'passphrase file');
  return process.env['TANDEM_PASSPHRASE'] || undefined;
}

/** A passphrase that must be given, asked for on the terminal where need be. A new one is asked for twice. */
export async function needPassphrase(o: { file: string | undefined; fresh: boolean }): Promise<string> {
  const given = await givenPassphrase(o.file);
  if (given !== undefined) return given;
  if (!process.stdin.isTTY)
    throw new Fault(
      'passphrase: none is given, and there is no terminal to ask on',
      'Give it in a file of mode 600: `--passphrase-file FILE`, or in TANDEM_PASSPHRASE.',
    );
  const typed = await ask('Passphrase: ');
  if (o.fresh && (await ask('Again: ')) !== typed)
    throw new Fault('passphrase: the two are not the same', 'Start again; nothing was written.');
  return typed;
}

/** What is typed is not shown. Ctrl-C and Ctrl-D end it. */
async function ask(prompt: string): Promise<string> {
  process.stderr.write(prompt);
  const dark = new Writable({ write: (_chunk, _encoding, done) => done() });
  const ending = new AbortController();
  const lines = createInterface({ input: process.stdin, output: dark, terminal: true, historySize: 0 });
  lines.once('SIGINT', () => ending.abort());
  lines.once('close', () => ending.abort());
  try {
    return await lines.question('', { signal: ending.signal });
  } catch {
    throw new Fault('passphrase: none was typed', 'Start again; nothing was written.');
  } finally {
    lines.close();
    process.stderr.write('\n');
  }
}
