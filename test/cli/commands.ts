import { CommanderError, type Command } from 'commander';
import type { Context } from '../../ops/cli/print.ts';
import { createProgram, verbs } from '../../ops/cli/program.ts';

/** The command line itself, to hold against it whatever Tandem prints as a command. Nothing is done by it. */

/** Verbs of a move that do not say by themselves at which site it is: both may answer. */
const AT_A_SITE = [
  'watch',
  'brief',
  'resume',
  'approve',
  'veto',
  'retry',
  'skip',
  'done',
  'pause',
  'abort',
  'turn-back',
];
const MOVES = ['failover', 'relocate', 'failback'];
/** Words that nobody takes without a reason. */
const REASONED = ['skip', 'done', 'note', 'veto', 'turn-back'];

async function program(called: (command: Command) => void): Promise<Command> {
  const whole = createProgram();
  for (const { load } of Object.values(verbs)) (await load()).register(whole, {} as Context);
  const each = (command: Command): void => {
    command.exitOverride().configureOutput({ writeOut: () => undefined, outputError: () => undefined });
    // A group has no action of its own, and is never the whole of a command.
    if (command.commands.length === 0) command.action(() => called(command));
    command.commands.forEach(each);
  };
  each(whole);
  return whole;
}

/** What `--help` shows of each verb and group, by its words. */
export async function helpOfAll(): Promise<[command: string, help: string][]> {
  const of = (command: Command, path: string): [string, string][] => [
    [path, command.helpInformation()],
    ...command.commands.flatMap((c) => of(c, `${path} ${c.name()}`)),
  ];
  return of(await program(() => undefined), 'tandem');
}

/** As a shell takes it apart: words, and what is quoted. */
export const wordsOf = (line: string): string[] =>
  [...line.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)].map(([, quoted, word]) => quoted ?? word ?? '');

/** Why a printed line is no command that can be pasted; null when it is. Placeholders such as TEXT, ID, FILE stand for values. */
export async function faultOf(line: string): Promise<string | null> {
  const [first, ...words] = wordsOf(line);
  if (first !== 'tandem') return `begins with ${first}`;
  let found: Command | null = null as Command | null;
  const whole = await program((command) => (found = command));
  try {
    await whole.parseAsync(words, { from: 'user' });
  } catch (error) {
    return error instanceof CommanderError ? error.message : String(error);
  }
  return found ? lackOf(found) : 'names no verb';
}

/** What a verb asks for by itself, beside what its options say. */
function lackOf(command: Command): string | null {
  const o = command.opts<Record<string, unknown>>();
  const has = (name: string): boolean => command.options.some((option) => option.attributeName() === name);
  const verb = command.name();
  const group = command.parent?.name() ?? '';
  const many = command.options.find(({ long }) => long === '--customer')?.description.startsWith('needed') ?? false;
  if (many && o['customer'] === undefined) return 'lacks --customer';
  if (MOVES.includes(group) && AT_A_SITE.includes(verb) && o['site'] === undefined) return 'lacks --site';
  // A run that is gone is gone on with by nobody's signature.
  const signed =
    has('operator') && has('key') && !(verb === 'resume' && (o['takeOver'] || o['operator'] === undefined));
  if (signed && o['signed'] === undefined && (o['operator'] === undefined || (o['key'] ?? o['print']) === undefined))
    return 'lacks --operator ID --key FILE';
  if (signed && MOVES.includes(group) && REASONED.includes(verb) && o['because'] === undefined)
    return 'lacks --because TEXT';
  return ['retry', 'skip', 'done'].includes(verb) && has('step') && o['step'] === undefined ? 'lacks --step' : null;
}

/** Whether the verbs and the options that a text names are there; what else a command needs may be told around it. */
export async function unknownIn(text: string): Promise<string | null> {
  const whole = await program(() => undefined);
  let at: Command = whole;
  const words = wordsOf(text).slice(1);
  for (const [i, word] of words.entries()) {
    if (word.startsWith('--')) {
      if (word !== '--help' && !known(at).includes(word.split('=')[0] ?? '')) return `${at.name()} has no ${word}`;
      continue;
    }
    const next = at.commands.find((c) => c.name() === word);
    if (next) at = next;
    // A verb that is put in: what it takes is not to be told.
    else if (at.commands.length > 0 && !/^[a-z]/.test(word)) return null;
    else if (at.commands.length > 0) return `${at.name()} has no ${word}`;
    else if (i === 0) return `there is no ${word}`;
  }
  return null;
}

const known = (command: Command | null): string[] =>
  command ? [...command.options.flatMap(({ long }) => long ?? []), ...known(command.parent)] : [];
