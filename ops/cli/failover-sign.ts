import { InvalidArgumentError, type Command } from 'commander';
import type { SignedVerb, Verb } from '../../workflows/model/approvals.ts';
import { moveCommand, type FailoverStatus, type MoveName } from '../../workflows/model/moves.ts';
import { endPhases } from '../../workflows/model/phases.ts';
import { isAnswer } from '../../workflows/model/motions.ts';
import { failoverStatus, type FailoverHandle } from '../moves.ts';
import { draftVerb, sendVerb, type VerbDraft } from '../verbs.ts';
import { openSigner } from '../signer.ts';
import { printText, readPasted } from './failover-paste.ts';
import { planScreen } from './failover-plan.ts';
import type { Context } from './print.ts';

export interface Signing {
  customer?: string;
  site?: string;
  operator: string;
  key: string;
  passphraseFile?: string;
  because?: string;
  step?: string;
  accept?: string[];
  acceptDataLoss?: string;
  breakGlass?: boolean;
  print?: string;
  signed?: string;
  forUi?: boolean;
}

/** What operators sign. */
export function registerSigned(
  verb: (name: string, about: string) => Command,
  act: (o: Partial<Signing>, name: Verb) => Promise<void>,
): void {
  const signed = (name: Verb, about: string, { step = false, reason = false } = {}): Command => {
    const command = verb(name, about)
      .option('--operator <id>', 'who signs')
      .option('--key <file>', "the operator's private key, PKCS8 PEM or of OpenSSH")
      .option('--passphrase-file <file>', 'opens an encrypted PEM key (or TANDEM_PASSPHRASE)')
      .option('--print <file>', 'write what is to be signed elsewhere, by ssh-keygen, and send nothing')
      .option('--signed <file>', 'send what was signed so')
      .option('--for-ui', 'with --key or --signed: print the update for Temporal UI, and send nothing')
      .action((o: Partial<Signing>) => act(o, name));
    if (step) command.option('--step <id>', 'the step (needed)');
    return command.option('--because <text>', `kept in the journal${reason ? ' (needed)' : ''}`);
  };
  signed('approve', 'sign the plan as it stands; read it with `watch` before')
    .option('--accept <text...>', 'what the plan asks whoever signs to accept, word for word')
    .option('--accept-data-loss <time>', 'the same as --accept "data-loss TIME"')
    .option(
      '--break-glass',
      'a commander alone: all are paged, and in 10 minutes it begins unless one of them stops it',
    );
  signed('veto', 'stop a commander who goes on alone; the move waits for two signatures then', { reason: true });
  signed('retry', 'another round of a held step', { step: true });
  signed('skip', 'pass over a held step; two must sign when it guards users', { step: true, reason: true });
  signed('done', 'a held step was done by hand; two must sign when it guards users', { step: true, reason: true });
  signed('pause', 'start no further step; what runs goes on');
  signed('abort', 'stop it; possible until the epoch is claimed');
  signed('turn-back', 'give the source its users back; possible until the first of them is served, two sign', {
    reason: true,
  });
  signed('take', 'have it in hand, which everybody who looks is shown');
  signed('note', 'a line for the journal, the report and the next shift', { reason: true });
}

const reasoned: readonly Verb[] = ['skip', 'done', 'note', 'veto', 'turn-back'];

/** The run that a word is for; `fit` rejects when the word should not be given over what the run says of itself. */
interface Hearer {
  handle: FailoverHandle;
  fit?: (status: FailoverStatus) => Promise<void>;
}

/** Signed here with a key, to be signed elsewhere, or signed there. */
export async function give(
  context: Context,
  { name, verb, ...hearer }: Hearer & { name: MoveName; verb: Verb },
  o: Partial<Signing>,
): Promise<void> {
  const { handle, fit } = hearer;
  const { operator, key, print, signed, step, because } = o;
  const send = o.forUi ? printUpdate : sendSigned;
  if (signed !== undefined) {
    const word = await readPasted(name, verb, signed);
    // What is only printed asks no run.
    if (!o.forUi) await fit?.(await failoverStatus(handle));
    return send(context, handle, word);
  }
  const lacking = [
    ...(operator === undefined ? ['--operator ID'] : []),
    ...(key === undefined && print === undefined ? ['--key FILE, or --print FILE to sign elsewhere'] : []),
    ...(step === undefined && isAnswer(verb) ? ['--step ID'] : []),
    ...(because === undefined && (o.breakGlass || reasoned.includes(verb)) ? ['--because TEXT'] : []),
  ];
  if (operator === undefined || lacking.length > 0)
    throw new InvalidArgumentError(`${name} ${verb}: lacks ${lacking.join('; ')}`);
  const draft = {
    verb,
    operator,
    ...(step !== undefined && { step }),
    ...(because !== undefined && { because }),
    accepts: acceptedIn(o),
    ...(o.breakGlass && { breakGlass: true as const }),
  };
  if (print !== undefined) {
    await fit?.(await failoverStatus(handle));
    return printText(context, handle, print, draft);
  }
  return sign(context, hearer, draft, { ...o, key: key ?? '' }, send);
}

const acceptedIn = ({ accept = [], acceptDataLoss }: Partial<Signing>): string[] => [
  ...accept,
  ...(acceptDataLoss === undefined ? [] : [`data-loss ${acceptDataLoss}`]),
];

export async function sign(
  context: Context,
  { handle, fit }: Hearer,
  draft: VerbDraft,
  o: Pick<Signing, 'key' | 'passphraseFile'>,
  send = sendSigned,
): Promise<void> {
  const signer = await openSigner(o.key, o.passphraseFile);
  const status = await failoverStatus(handle);
  await fit?.(status);
  // An approval is of the plan: that is read where it is signed. The other words are of what `watch` shows.
  if (status.phase === 'approving' && draft.verb === 'approve' && !context.json())
    context.out.answer(null, planScreen(status));
  const { v, text } = draftVerb(status, draft);
  return send(context, handle, { ...v, signature: await signer(text) });
}

async function sendSigned({ out }: Context, handle: FailoverHandle, v: SignedVerb): Promise<void> {
  const answer = await sendVerb(handle, v);
  out.answer(answer, `Accepted: ${v.verb} by ${v.operator}. ${answer.phase}: waits for ${answer.waitsFor}`);
  const after = await failoverStatus(handle);
  out.next(after.next ?? moveCommand(after, endPhases.includes(after.phase) ? 'report' : 'watch'));
}

/** The same, to be pasted: whoever has the page open need not have a command line. */
async function printUpdate({ out }: Context, { workflowId }: FailoverHandle, v: SignedVerb): Promise<void> {
  out.answer(v, [
    `On the page of ${workflowId} in Temporal UI: More Actions, Send an Update, name \`${v.verb}\`, input until ${v.expires}:`,
    '',
    // As the page itself would lay it out: else its button moves away from under the hand.
    ...JSON.stringify(v, null, 2).split('\n'),
  ]);
}
