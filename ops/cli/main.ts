import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CommanderError, type Command } from 'commander';
import { exits, Printer, type Context } from './print.ts';
import { createProgram, verbs } from './program.ts';

function stateFolder(): string {
  return process.env['TANDEM_STATE'] ?? join(process.cwd(), '.tandem', 'dev');
}

function configurationFile(given: string | undefined): string {
  const named = given ?? process.env['TANDEM_CONFIG'];
  if (named !== undefined) return named;
  return existsSync('tandem.yaml') ? 'tandem.yaml' : join(stateFolder(), 'tandem.yaml');
}

async function main(argv: string[]): Promise<void> {
  const ending = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => ending.abort());
  const program = createProgram();
  const json = (): boolean => argv.includes('--json');
  const out = new Printer(json);
  const context: Context = {
    config: () => configurationFile(program.opts<{ config?: string }>().config),
    state: stateFolder,
    json,
    signal: ending.signal,
    out,
  };
  const called = argv.find((word, i) => !word.startsWith('-') && argv[i - 1] !== '--config');
  for (const [name, { about, load }] of Object.entries(verbs)) {
    if (name === called) (await load()).register(program, context);
    else program.command(name, { noHelp: false }).description(about);
  }
  try {
    for (const command of [program, ...descendants(program)])
      command.exitOverride().configureOutput({ outputError: () => undefined });
    await program.parseAsync(argv, { from: 'user' });
  } catch (error) {
    process.exitCode = usageOrFault(error, out, helpFor(program, argv));
  }
}

function descendants(command: Command): Command[] {
  return command.commands.flatMap((c) => [c, ...descendants(c)]);
}

/** The help of the verb that was meant, as far as its words are known. */
function helpFor(program: Command, argv: readonly string[]): string {
  const path = [program];
  for (const word of argv) {
    const next = path.at(-1)?.commands.find((c) => c.name() === word);
    if (next) path.push(next);
  }
  return [...path.map((c) => c.name()), '--help'].join(' ');
}

function usageOrFault(error: unknown, out: Printer, help: string): number {
  if (!(error instanceof CommanderError)) {
    const stopped = error instanceof Error && error.name === 'AbortError';
    out.fault(stopped ? Object.assign(new Error('stopped, as asked'), { try: 'Give the same command again.' }) : error);
    return exits.failed;
  }
  if (error.exitCode === 0) return exits.done; // --help
  if (error.code === 'commander.help') return exits.usage; // A group without its verb: help was printed.
  const [first = '', ...more] = error.message.replace(/^error: /, '').split('\n');
  const near = more
    .join(' ')
    .trim()
    .replace(/^\((.*)\)$/, '$1'); // Commander's own guess, in brackets.
  out.fault(Object.assign(new Error(first), { try: `${near ? `${near} ` : ''}\`${help}\`.` }));
  return exits.usage;
}

// Whoever reads may have seen enough, as `| head` has: what is left unsaid is no fault.
for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });

await main(process.argv.slice(2));
