import type { Command } from 'commander';
import type { ContinuityTestResult } from '../../workflows/continuity-test.ts';
import { isTestKind, type TestStatus } from '../../workflows/model/continuity.ts';
import { Fault } from '../fault.ts';
import { pause } from '../temporal.ts';
import { beginTest, endOfTest, type TestHandle, type TestOptions } from '../tests.ts';
import { exits, plain, type Context } from './print.ts';
import { customerOf, openConfiguration, siteOf } from './site.ts';
import { durationOf, receiptLines } from './test-lines.ts';
import { registerReports } from './test-report.ts';
import { registerWords } from './test-words.ts';

export function register(program: Command, context: Context): void {
  const group = program.command('test').description('continuity tests: the yearly proof that a failover would work');
  group
    .command('start')
    .description('hold a test at a site now, whosever turn it is')
    .requiredOption('--site <site>', 'the site that would survive')
    .option('--customer <id>', 'needed when there is more than one')
    .option(
      '--kind <kind>',
      'isolated: the newest covered snapshot of the peer is restored beside the service and compared; tabletop: a failover is walked on paper, people confirm their steps; live: a cohort of users comes here and goes home again',
      'isolated',
    )
    .option('--cohort <name>', 'live: the cohort, of users whose home is the other site')
    .option('--despite-blackout <because>', 'inside a blackout of the configuration, for this reason')
    .option('--page', 'tabletop: page whoever is on duty when it begins')
    .option('--confirm-within <duration>', 'tabletop: people have so long to confirm their steps', '8h')
    .action((o: Start) => start(context, o));
  registerWords(group, context);
  registerReports(group, context);
}

interface Start {
  site: string;
  customer?: string;
  kind: string;
  cohort?: string;
  despiteBlackout?: string;
  page?: boolean;
  confirmWithin: string;
}

function optionsOf({ kind, cohort, despiteBlackout, page, confirmWithin }: Start, peer: string): TestOptions {
  if (!isTestKind(kind))
    throw new Fault(`--kind ${kind}: isolated, tabletop and live are known`, 'Leave it out, or name one of these.');
  if ((kind === 'live') !== (cohort !== undefined))
    throw new Fault(
      kind === 'live' ? '--kind live: needs --cohort' : `--cohort: a test of kind ${kind} moves nobody`,
      `\`tandem cohort list --site ${peer}\` shows the cohorts.`,
    );
  const tabletop = kind === 'tabletop';
  return {
    kind,
    ...(cohort !== undefined && { cohort: cohort.includes('/') ? cohort : `${peer}/${cohort}` }),
    ...(despiteBlackout !== undefined && { despiteBlackout }),
    ...(tabletop && { page: page ?? false, confirmWithinMs: durationOf(confirmWithin) }),
  };
}

async function start(context: Context, o: Start): Promise<void> {
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, o.customer);
  const options = optionsOf(o, customer.sites.find((site) => site !== o.site) ?? '');
  const client = await siteOf(configuration, o.site).client();
  try {
    context.out.say(`Continuity test of ${customer.id} at ${o.site}, ${options.kind} …`);
    const handle = await beginTest(client, o.site, customer.id, options);
    // Where its users are has been looked at then.
    const going =
      options.kind === 'live' ? await until(handle, ({ phase, next }) => phase === 'going' && Boolean(next)) : null;
    if (going) {
      askToMove(context, going, options.cohort ?? '');
      return;
    }
    const reading =
      options.kind === 'tabletop' && (options.confirmWithinMs ?? 0) > 0
        ? await until(handle, ({ phase }) => phase === 'on-paper')
        : null;
    if (reading) askForWords(context, reading);
    else tell(context, await endOfTest(handle, customer.id));
  } finally {
    await client.connection.close();
  }
}

const READ_EVERY_MS = 200;

/** Once people are waited for; null when it has ended before. */
async function until(handle: TestHandle, waits: (status: TestStatus) => boolean): Promise<TestStatus | null> {
  for (;;) {
    const status = await handle.query<TestStatus>('status').catch(() => null);
    if (status && waits(status)) return status;
    if ((await handle.describe()).status.name !== 'RUNNING') return null;
    await pause(READ_EVERY_MS);
  }
}

function askForWords({ out }: Context, status: TestStatus): void {
  const { customer, run, people } = status;
  out.answer(status, [
    `Test ${run} waits for people to say of each step that they can do it:`,
    ...people.map(({ id, what }) => plain(`  ${id}: ${what}`)),
  ]);
  out.next(`tandem test confirm --customer ${customer} --step ${people[0]?.id ?? 'ID'} --operator ID --key FILE`);
  process.exitCode = exits.held;
}

/** People move the users, with a plan and signatures; the run waits for them. */
function askToMove({ out }: Context, status: TestStatus, cohort: string): void {
  const { customer, run, site, because, next } = status;
  out.answer(status, [
    `Test ${run} waits until users of ${cohort} are at ${site}, looks at them, and waits until they are home.`,
    plain(`Now: ${because}. \`tandem test list --customer ${customer}\` always names the next command.`),
  ]);
  out.next(next ?? null);
  process.exitCode = exits.held;
}

function tell({ out }: Context, result: ContinuityTestResult): void {
  if (!result.held) {
    out.answer(result, plain(`Not held: ${result.because}`));
    return;
  }
  out.answer(result, [...receiptLines(result.receipt), plain(`  receipt ${result.vaultKey}`)]);
  if (result.receipt.outcome !== 'passed') process.exitCode = exits.failed;
}
