import type { Client } from '@temporalio/client';
import type { Command } from 'commander';
import { duration } from '../../workflows/model/rto.ts';
import { CUSTOMER } from '../embedded/configuration.ts';
import { down, killSite, reset, status, type ProcessStatus } from '../embedded/control.ts';
import { hasPeople, requireEnough } from '../embedded/people/people.ts';
import { populate } from '../embedded/people/populate.ts';
import { THIRD_PARTY } from '../embedded/service.ts';
import { up, type Stack } from '../embedded/stack.ts';
import { pointThirdParty } from '../embedded/third-party.ts';
import { Fault } from '../fault.ts';
import { connectClient } from '../temporal.ts';
import { exits, table, wholeNumber, type Context } from './print.ts';

export function register(program: Command, context: Context): void {
  const { out, state } = context;
  const dev = program.command('dev').description('the embedded two-site stack, on loopback');

  dev
    .command('up')
    .description('start what is not running yet')
    .option('--users <n>', 'fill an empty stack with made-up users, half of them at each site', wholeNumber)
    .action(async ({ users }: { users?: number }) => {
      if (users !== undefined) requireEnough(users);
      const started = Date.now();
      const stack = await up({ folder: state(), workers: true, say: (line) => out.say(`  ${line}`) });
      const took = duration(Date.now() - started);
      if (users !== undefined) await fill(stack, users, (line) => out.say(line));
      const uis = Object.fromEntries(Object.entries(stack.sites).map(([site, at]) => [site, at.uiUrl]));
      const lines = Object.entries(uis).map(([site, url]) => uiLine(site, url));
      out.answer({ folder: stack.folder, configuration: stack.configuration, uis, ms: Date.now() - started }, [
        `Two sites are up after ${took}; configuration ${stack.configuration}, customer ${CUSTOMER}.`,
        ...lines,
      ]);
      out.next('tandem status');
    });

  dev
    .command('down')
    .description('stop everything that is left of it, in order')
    .action(async () => {
      const stopped = await down(state());
      out.answer({ stopped }, stopped === 0 ? 'Nothing was running.' : `Stopped ${stopped} processes.`);
    });

  dev
    .command('status')
    .description('what runs, where, and its log')
    .action(async () => {
      const processes = await status(state());
      const rows = processes.map((p) => [
        `${p.site}/${p.name}`,
        p.state,
        p.pid === null ? '-' : String(p.pid),
        `${p.host}:${p.port}`,
        p.log,
      ]);
      out.answer(
        processes,
        processes.length === 0
          ? 'No stack was ever started here.'
          : [...table([['process', 'state', 'pid', 'address', 'log'], ...rows]), ...uiLines(processes)],
      );
      const healthy = processes.length > 0 && processes.every((p) => p.state === 'running');
      if (!healthy) out.next('tandem dev up');
      process.exitCode = healthy ? exits.done : exits.failed;
    });

  dev
    .command('reset')
    .description('stop it and delete all it kept')
    .action(async () => {
      await reset(state());
      out.answer({ deleted: state() }, `Deleted ${state()}.`);
    });

  registerLose(dev, context);
  registerThirdParty(dev, context);
}

/** The pages of the sites whose Temporal UI answers. */
const uiLines = (processes: ProcessStatus[]): string[] =>
  processes
    .filter(({ name, state }) => name === 'ui' && state === 'running')
    .map(({ site, port }) => uiLine(site, `http://127.0.0.1:${port}`));

const uiLine = (site: string, url: string): string => `  ${site}: Temporal UI ${url}/namespaces/tandem/workflows`;

function registerLose(dev: Command, { out, state }: Context): void {
  dev
    .command('lose')
    .description('kill all that runs at one site, as a lost data center ends; `dev up` brings it back')
    .requiredOption('--site <site>', 'the site to lose')
    .action(async ({ site }: { site: string }) => {
      const lost = await lose(state(), site);
      out.answer({ site, killed: lost }, `Site ${site} is lost: ${lost} processes were killed.`);
      out.next(
        `tandem failover start --customer ${CUSTOMER} --from ${site} --reason TEXT --requested-by ID --isolation TEXT`,
      );
    });
}

function registerThirdParty(dev: Command, { out, state }: Context): void {
  dev
    .command('third-party')
    .description('do what a third party is asked to: its configuration leads to another site from now on')
    .requiredOption('--to <site>', 'the site whose address is written into it')
    .action(async ({ to }: { to: string }) => {
      await pointThirdParty(state(), to);
      out.answer({ to }, `The third party comes to ${to} from now on.`);
      out.next(
        `tandem external-update done --customer ${CUSTOMER} --party ${THIRD_PARTY.split('.')[0]} --operator ID --key FILE`,
      );
    });
}

/** Nothing of the site is asked to end: no worker hands anything over, no file is closed. */
async function lose(folder: string, site: string): Promise<number> {
  const processes = await status(folder);
  const its = processes.filter((p) => p.site === site && p.pid !== null);
  if (its.length === 0)
    throw new Fault(
      `site ${JSON.stringify(site)}: nothing of it runs in ${folder}`,
      processes.length === 0 ? '`tandem dev up` starts a stack.' : '`tandem dev status` shows what runs.',
    );
  await killSite(folder, site);
  return its.length;
}

/** Users are made once: what lives in a stack already is never touched. */
async function fill(stack: Stack, users: number, say: (line: string) => void): Promise<void> {
  const [one] = Object.values(stack.sites);
  if (!one) return;
  if (await hasPeople(one.databaseUrl)) {
    say('Users live here already; none were made.');
    return;
  }
  const clients = new Map<string, Client>();
  const client = async (site: string): Promise<Client> => {
    const found = await connectClient({ address: stack.sites[site]?.temporalAddress ?? '', namespace: 'tandem' });
    clients.set(site, found);
    return found;
  };
  try {
    await populate(stack, { seed: 'tandem', users }, client);
  } finally {
    await Promise.all([...clients.values()].map(({ connection }) => connection.close()));
  }
  const signIn = `u000000@${stack.customer}.example and so on sign in with the password in ${stack.folder}/secrets/people-password`;
  say(one.clients === null ? `Made ${users} users.` : `Made ${users} users: ${signIn}.`);
}
