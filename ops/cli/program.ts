import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import type { Context } from './print.ts';

/** The command line: a file per verb, loaded only when it is called. */

type Register = (program: Command, context: Context) => void;

export const verbs: Record<string, { about: string; load: () => Promise<{ register: Register }> }> = {
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

function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

export function createProgram(): Command {
  return new Command('tandem')
    .description('Keeps a two-site communications service alive when a site is lost.')
    .option('--config <file>', 'tandem.yaml (default: TANDEM_CONFIG, ./tandem.yaml, the embedded stack’s)')
    .version(version(), '--version', 'print the version')
    .option('--json', 'print one JSON object per answer')
    .helpCommand(false)
    .showSuggestionAfterError(true)
    .configureOutput({ outputError: () => undefined })
    .addHelpText('after', '\nExit codes: 0 done, 1 failed, 2 usage, 3 held (an operator is needed).');
}
