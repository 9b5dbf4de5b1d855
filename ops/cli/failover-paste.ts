import { readFile, writeFile } from 'node:fs/promises';
import type { SignedVerb, Verb } from '../../workflows/model/approvals.ts';
import { moveCommand, type MoveName } from '../../workflows/model/moves.ts';
import { Fault } from '../fault.ts';
import { failoverStatus, type FailoverHandle } from '../moves.ts';
import { draftVerb, type VerbDraft } from '../verbs.ts';
import { planScreen } from './failover-plan.ts';
import { signingLine } from './paste.ts';
import type { Context } from './print.ts';

/**
 * Signing elsewhere: with a key that this machine never sees. The text goes into a file, and beside it what is to be sent
 * with its signature; `ssh-keygen -Y sign` puts that beside them.
 */
export async function printText(
  { out, json }: Context,
  handle: FailoverHandle,
  file: string,
  draft: VerbDraft,
): Promise<void> {
  const status = await failoverStatus(handle);
  const { v, text } = draftVerb(status, draft);
  await write(file, text);
  await write(requestOf(file), `${JSON.stringify(v, null, 2)}\n`);
  if (draft.verb === 'approve' && !json()) out.answer(null, planScreen(status));
  out.answer({ file, text, request: v }, [
    '',
    `Written to ${file}, to be signed by ${draft.operator} before ${v.expires}:`,
    '',
    ...text
      .trimEnd()
      .split('\n')
      .map((line) => `  ${line}`),
    '',
    signingLine(file),
    `That leaves ${file}.sig. With \`--signed ${file} --for-ui\` the same is printed for Temporal UI.`,
  ]);
  out.next(`${moveCommand(status, v.verb)} --signed ${file}`);
}

/** What was signed elsewhere, with its signature. */
export async function readPasted(name: MoveName, verb: Verb, file: string): Promise<SignedVerb> {
  const request = await readRequest(requestOf(file));
  const signature = await read(`${file}.sig`);
  if (request.verb !== verb)
    throw new Fault(
      `${requestOf(file)}: is for ${request.verb}, not ${verb}`,
      `\`tandem ${name} ${request.verb} --signed ${file}\``,
    );
  if (!(Date.parse(request.expires) > Date.now()))
    throw new Fault(
      `${requestOf(file)}: expired at ${request.expires}; a signature lives an hour`,
      `\`tandem ${name} ${verb} --operator ${request.operator} --print ANOTHER-FILE\`, and sign that.`,
    );
  return { ...request, signature };
}

const requestOf = (file: string): string => `${file}.json`;

async function write(file: string, text: string): Promise<void> {
  // Not over another: what was signed once must still be there to be sent.
  await writeFile(file, text, { flag: 'wx' }).catch((error: NodeJS.ErrnoException) => {
    throw new Fault(
      `${file}: ${error.code === 'EEXIST' ? 'is there already' : `cannot be written (${error.code})`}`,
      'Name another file.',
    );
  });
}

async function readRequest(file: string): Promise<SignedVerb> {
  const text = await read(file);
  try {
    return JSON.parse(text) as SignedVerb;
  } catch {
    throw new Fault(
      `${file}: is no JSON, or was cut`,
      '`--print` with another file writes it anew; it must then be signed anew.',
    );
  }
}

async function read(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new Fault(
      `${file}: ${error.code === 'ENOENT' ? 'is not there' : `cannot be read (${error.code})`}`,
      '`--print FILE` writes FILE and FILE.json; `ssh-keygen -Y sign -n tandem -f KEY FILE` adds FILE.sig.',
    );
  });
}
