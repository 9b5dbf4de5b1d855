import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { exits, Printer, type Context } from './print.ts';

/** The command line: a file per verb, loaded only when it is called. */

type Register = (program: Command, context: Context) => void;

const verbs: Record<string, { about: string; load: () => Promise<{ register: Register }> }> = {
  dev: { about: 'the embedded two-site stack: up, down, status, lose, reset', load: () => import('./dev.ts') },
  demo: {
    about: 'the whole story on real servers: protect, lose a site, fail over, verify',
    load: () => import('./demo.ts'),
  },
  worker: { about: "run one site's worker", load: () => import('./worker.ts') },
  schedules: { about: 'the schedules of a site: apply, list', load: () => import('./schedules.ts') },
  config: { about: 'the configuration: check', load: () => import('./config.ts') },
  keys: {
    about: 'keys of operators, sites and customers: new, rotate, list, verify, escrow, restore',
    load: () => import('./keys.ts'),
  },
  doctor: { about: 'tries the vaults and the rights of each site', load: () => import('./doctor.ts') },
  status: { about: 'protection and running moves of all customers, on one screen', load: () => import('./status.ts') },
  snapshot: { about: 'snapshots: now, list, show, verify, diff, accept', load: () => import('./snapshot.ts') },
  quarantine: {
    about: 'users who are not let in, because their block list cannot be read: list, show, release',
    load: () => import('./quarantine.ts'),
  },
  directory: {
    about: "who has an account, by the customer's directory: check, show, accept",
    load: () => import('./directory.ts'),
  },
  cohort: {
    about: 'users who move before the others of their half: set, end, list, share',
    load: () => import('./cohort.ts'),
  },
  customer: { about: 'customers come and go: add, list, show, retire', load: () => import('./customer.ts') },
  site: {
    about: 'a site that is closed or came back: status, open, close, salvage',
    load: () => import('./site-verbs.ts'),
  },
  retention: { about: 'what of the vaults is past its keeping: plan, run', load: () => import('./retention.ts') },
  restore: {
    about: 'a snapshot against a database: --dry-run, or --into another one',
    load: () => import('./restore.ts'),
  },
  failover: {
    about: 'a lost site: plan, start, watch, brief, approve, retry, skip, resume, abort, list, report',
    load: () => import('./failover.ts'),
  },
  relocate: {
    about: 'a planned move to the other site: plan, start, approve, watch, turn-back, list, report',
    load: () => import('./relocate.ts'),
  },
  failback: {
    about: 'users come home: plan, start, approve, watch, turn-back, list, report',
    load: async () => ({ register: (await import('./relocate.ts')).registerFailback }),
  },
  'external-update': {
    about: 'changes that parties outside are asked for: list, acknowledge, done, cancel',
    load: () => import('./external-update.ts'),
  },
  runbook: { about: 'the order of a move: list, lint, show, graph, schema', load: () => import('./runbook.ts') },
  notify: { about: 'the ways to people outside: test', load: () => import('./notify.ts') },
  evidence: { about: 'what a move did, signed: export, verify', load: () => import('./evidence.ts') },
  bench: { about: 'measurements: vault, failover, service, home', load: () => import('../bench/main.ts') },
  test: { about: 'continuity tests: start, abort, confirm, finish, list, report', load: () => import('./test.ts') },
};

function stateFolder(): string {
  return process.env['TANDEM_STATE'] ?? join(process.cwd(), '.tandem', 'dev');
}

function configurationFile(given: string | undefined): string {
  const named = given ?? process.env['TANDEM_CONFIG'];
  if (named !== undefined) return named;
  return existsSync('tandem.yaml') ? 'tandem.yaml' : join(stateFolder(), 'tandem.yaml');
}

function createProgram(): Command {
  return new Command('tandem')
    .description('Keeps a two-site communications service alive when a site is lost.')
    .option('--config <file>', 'tandem.yaml (default: TANDEM_CONFIG, ./tandem.yaml, the embedded stack’s)')
    .option('--json', 'print one JSON object per answer')
    .helpCommand(false)
    .showSuggestionAfterError(true)
    .configureOutput({ outputError: () => undefined })
    .addHelpText('after', '\nExit codes: 0 done, 1 failed, 2 usage, 3 held (an operator is needed).');
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
