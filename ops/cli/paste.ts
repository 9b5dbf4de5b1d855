import { readFile, writeFile } from 'node:fs/promises';
import { Fault } from '../fault.ts';

/**
 * Signing elsewhere: the text lies in FILE, what is sent with its signature in FILE.json, and `ssh-keygen -Y sign` adds
 * FILE.sig.
 */

export async function writeForSigning(file: string, text: string, request: object): Promise<void> {
  await writeNew(file, text);
  await writeNew(`${file}.json`, `${JSON.stringify(request)}\n`);
}

/** How FILE is signed; ssh-keygen reads no key in PKCS8 PEM, as `tandem keys new` makes it. */
export const signingLine = (file: string, before = ''): string =>
  `Sign it where the key is${before}: ssh-keygen -Y sign -n tandem -f KEY ${file} (it takes a key that \`ssh-keygen -t ed25519\` made; one of \`tandem keys new\` signs with \`--key\` alone)`;

/** What was signed elsewhere, with its signature. `verb`: the command that wrote it. */
export async function readSigned<T extends { signature: string }>(file: string, verb: string): Promise<T> {
  const again = `\`${verb} --print FILE\` writes FILE and FILE.json; \`ssh-keygen -Y sign -n tandem -f KEY FILE\` adds FILE.sig.`;
  const read = async (path: string): Promise<string> =>
    readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      throw new Fault(`${path}: cannot be read (${error.code})`, again);
    });
  const request = await read(`${file}.json`);
  const signature = await read(`${file}.sig`);
  try {
    return { ...(JSON.parse(request) as object), signature } as T;
  } catch {
    throw new Fault(`${file}.json: is no JSON, or was cut`, again);
  }
}

async function writeNew(file: string, text: string): Promise<void> {
  await writeFile(file, text, { flag: 'wx' }).catch((error: NodeJS.ErrnoException) => {
    throw new Fault(`${file}: cannot be written (${error.code})`, 'Name another file.');
  });
}
