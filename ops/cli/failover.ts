import { InvalidArgumentError, type Command } from 'commander';
import type { FailoverInput, FailoverStatus } from '../../workflows/model/moves.ts';
import { endPhases } from '../../workflows/model/phases.ts';
import { throughAt } from '../../workflows/model/readout.ts';
import type { Configuration } from '../config/configuration.ts';
import { Fault } from '../fault.ts';
import {
  failoverHandle,
  failoverStatus,
  followFailover,
  resumeFailover,
  startFailover,
  type FailoverHandle,
  standsBecause,
} from '../moves.ts';
import { brief } from './failover-brief.ts';
import { planScreen, showPlan, timeOf, type PlanOptions } from './failover-plan.ts';
import { registerReports } from './failover-report.ts';
import { give, registerSigned, sign, type Signing } from './failover-sign.ts';
import { exits, type Context } from './print.ts';
import { answeringSite, customerOf, openConfiguration } from './site.ts';

interface Where {
  customer?: string;
  site?: string;
}

interface Declared extends Where {
  from: string;
  reason: string;
  requestedBy: string;
  disruptedAt?: string;
  recoveryPoint?: string;
  isolation?: string;
  sourceIsServing?: boolean;
}

export function register(program: Command, context: Context): void {
  const group = program.command('failover').description('what to do when a site is lost');
  const verb = (name: string, about: string): Command =>
    group
      .command(name)
      .description(about)
      .option('--customer <id>', 'needed when there is more than one')
      .option('--site <site>', 'the surviving site; needed when both answer');

  verb('plan', 'what a failover would do now; starts nothing, asks no worker')
    .requiredOption('--from <site>', 'the site that would be lost')
    .option('--disrupted-at <time>', 'when it was lost, ISO 8601 (default: now)')
    .option('--recovery-point <time>', 'restore this point or an older one (default: the newest)')
    .option('--isolation <text>', 'how it was cut off, by whom, when')
    .option('--source-is-serving', 'although it is seen to serve')
    .action((o: PlanOptions) => showPlan(context, o));

  verb('start', 'declare a site lost; nothing is changed before two operators have signed the plan')
    .requiredOption('--from <site>', 'the lost site')
    .requiredOption('--reason <text>', 'what happened')
    .requiredOption('--requested-by <operator>', 'who declares it')
    .option('--disrupted-at <time>', 'when it was lost, ISO 8601 (default: now)')
    .option('--recovery-point <time>', 'restore this point or an older one (default: the newest)')
    .option('--isolation <text>', 'how it was cut off, by whom, when: part of what is signed')
    .option('--source-is-serving', 'although it is seen to serve; whoever signs must accept that by name')
    .action((o: Declared) => start(context, o));

  verb('watch', 'follow it until it ends or waits for an operator')
    .option('--once', 'print where it stands and leave')
    .action((o: Where & { once?: boolean }) => atRun(context, o, (handle) => watch(context, handle, o.once ?? false)));

  verb('brief', 'one page for the next shift: what happened, what stands, what is asked').action((o: Where) =>
    atRun(context, o, async (handle) => {
      const status = await failoverStatus(handle);
      context.out.answer(status, brief(status, Date.now()));
      const stands = await standsBecause(handle, status);
      if (stands) throw stands;
      context.out.next(status.next);
    }),
  );
  registerSigned(verb, (o, name) => atRun(context, o, (handle) => give(context, handle, name, o)));
  verb('resume', 'go on: after a pause, or with a move whose run is gone, from its journal')
    .option('--operator <id>', 'who signs the end of a pause')
    .option('--key <file>', "the operator's private key")
    .option('--passphrase-file <file>', 'opens an encrypted key (or TANDEM_PASSPHRASE)')
    .option('--take-over', 'end a run that is there and answers nobody; what was signed and done still counts')
    .action((o: Partial<Signing> & { takeOver?: boolean }) => resume(context, o));

  registerReports(group, context);
}

async function start(context: Context, o: Declared): Promise<void> {
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, o.customer);
  const survivor = o.site ?? customer.sites.find((s) => s !== o.from);
  if (!customer.sites.includes(o.from) || survivor === undefined || survivor === o.from) {
    throw new Fault(
      `--from ${o.from}: ${customer.id} is at ${customer.sites.join(' and ')}`,
      'Name the site that is lost.',
    );
  }
  const { name, client } = await answeringSite(configuration, customer, survivor).catch((error: unknown) => {
    if (!(error instanceof Fault)) throw error;
    throw new Fault(
      `${survivor} is to take over, and does not answer: ${error.message}`,
      `Is it ${survivor} that is lost? Then \`--from ${survivor}\`. Else: ${error.try}`,
    );
  });
  try {
    const input: FailoverInput = {
      customer: customer.id,
      from: o.from,
      reason: o.reason,
      requestedBy: o.requestedBy,
      ...(o.disruptedAt !== undefined && { disruptedAt: timeOf('--disrupted-at', o.disruptedAt) }),
      ...(o.recoveryPoint !== undefined && { recoveryPoint: timeOf('--recovery-point', o.recoveryPoint) }),
      ...(o.isolation !== undefined && { isolation: o.isolation }),
      ...(o.sourceIsServing && { sourceIsServing: true }),
    };
    const handle = await startFailover(client, name, input);
    context.out.say(
      `Declared: ${handle.workflowId} at ${name}. Its page: ${await pageOf(configuration, name, handle)}`,
    );
    await watch(context, handle, false);
  } finally {
    await client.connection.close();
  }
}

/** The tab of Temporal UI that shows a run's current details; it is found under a run only, not under its workflow. */
async function pageOf(configuration: Configuration, site: string, handle: FailoverHandle): Promise<string> {
  const { ui = '', namespace = '' } = configuration.sites.get(site)?.temporal ?? {};
  const { runId } = await handle.describe();
  return `${ui}/namespaces/${namespace}/workflows/${encodeURIComponent(handle.workflowId)}/${runId}/user-metadata`;
}

async function resume(context: Context, o: Partial<Signing> & { takeOver?: boolean }): Promise<void> {
  const { operator, key } = o;
  if ((operator === undefined) !== (key === undefined))
    throw new InvalidArgumentError(
      `failover resume: lacks ${key === undefined ? '--key FILE' : '--operator ID'}; a pause is ended with both, a run that is gone is gone on with without them`,
    );
  if (operator !== undefined && key !== undefined)
    return atRun(context, o, (handle) => sign(context, handle, { verb: 'resume', operator }, { ...o, key }));
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, o.customer);
  const { name, client } = await answeringSite(configuration, customer, o.site);
  try {
    const handle = await resumeFailover(client, name, customer.id, { replace: o.takeOver ?? false });
    context.out.say(
      `Resumed: ${handle.workflowId} at ${name}, from its journal. Its page: ${await pageOf(configuration, name, handle)}`,
    );
    await watch(context, handle, false);
  } finally {
    await client.connection.close();
  }
}

async function atRun(context: Context, where: Where, work: (handle: FailoverHandle) => Promise<void>): Promise<void> {
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, where.customer);
  const { client } = await answeringSite(configuration, customer, where.site);
  try {
    await work(failoverHandle(client, customer.id));
  } finally {
    await client.connection.close();
  }
}

const asksForPeople = (s: FailoverStatus): boolean => s.next !== null;

async function watch({ out, json, signal }: Context, handle: FailoverHandle, once: boolean): Promise<void> {
  let shown = '';
  const show = (s: FailoverStatus): void => {
    const through = s.next === null ? throughAt(s) : null;
    const line = `${s.phase}: waits for ${s.waitsFor}${through === null ? '' : `; ${through}, as it looks now`}`;
    if (json()) out.answer(s, '');
    else if (line !== shown) out.answer(null, `${new Date().toISOString().slice(11, 19)}  ${line}`);
    shown = line;
  };
  const last = await followFailover(handle, show, { enough: once ? () => true : asksForPeople, signal });
  // One that could not even be planned, or was ended by somebody: that is to be heard before all else.
  const stands = await standsBecause(handle, last);
  if (stands) throw stands;
  if (!json()) out.answer(null, planScreen(last));
  out.next(last.next ?? (endPhases.includes(last.phase) ? `tandem failover report --customer ${last.customer}` : null));
  if (last.phase === 'closed') return;
  process.exitCode = last.next === null ? exits.failed : exits.held;
}
