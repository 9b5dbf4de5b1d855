import type { Command } from 'commander';
import type { FailoverInput } from '../../workflows/model/moves.ts';
import { Fault } from '../fault.ts';
import { startMove } from '../moves.ts';
import { showPlan, timeOf, type PlanOptions } from './failover-plan.ts';
import { registerReconciled } from './reconciled.ts';
import { registerReports } from './failover-report.ts';
import { pageOf, registerMoveVerbs, verbOf, watch, type Where } from './move-verbs.ts';
import type { Context } from './print.ts';
import { answeringSite, customerOf, openConfiguration, requireDeclarer } from './site.ts';

interface Declared extends Where {
  from: string;
  half?: string;
  reason: string;
  requestedBy: string;
  disruptedAt?: string;
  recoveryPoint?: string;
  isolation?: string;
  sourceIsServing?: boolean;
}

export function register(program: Command, context: Context): void {
  const group = program.command('failover').description('what to do when a site is lost');
  const verb = verbOf(group, 'the surviving site; needed when both answer');

  verb('plan', 'what a failover would do now; starts nothing, asks no worker')
    .requiredOption('--from <site>', 'the site that would be lost')
    .option(
      '--half <half>',
      'the home of the users who move, or a cohort of them, site/name, where it served others, too (default: the lost site)',
    )
    .option('--disrupted-at <time>', 'when it was lost, ISO 8601 (default: now)')
    .option('--recovery-point <time>', 'restore this point or an older one (default: the newest)')
    .option('--isolation <text>', 'how it was cut off, by whom, when')
    .option('--source-is-serving', 'although it is seen to serve')
    .action((o: PlanOptions) => showPlan(context, o));

  verb('start', 'declare a site lost; nothing is changed before two operators have signed the plan')
    .requiredOption('--from <site>', 'the lost site')
    .option(
      '--half <half>',
      'the home of the users who move, or a cohort of them, site/name, where it served others, too (default: the lost site)',
    )
    .requiredOption('--reason <text>', 'what happened')
    .requiredOption('--requested-by <operator>', 'who declares it')
    .option('--disrupted-at <time>', 'when it was lost, ISO 8601 (default: now)')
    .option('--recovery-point <time>', 'restore this point or an older one (default: the newest)')
    .option('--isolation <text>', 'how it was cut off, by whom, when: part of what is signed')
    .option('--source-is-serving', 'although it is seen to serve; whoever signs must accept that by name')
    .action((o: Declared) => start(context, o));

  registerMoveVerbs(context, 'failover', verb);
  registerReports(group, context, 'failover');
  registerReconciled(group, context);
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
  const input: FailoverInput = {
    customer: customer.id,
    from: o.from,
    ...(o.half !== undefined && { half: o.half }),
    reason: o.reason,
    requestedBy: o.requestedBy,
    ...(o.disruptedAt !== undefined && { disruptedAt: timeOf('--disrupted-at', o.disruptedAt) }),
    ...(o.recoveryPoint !== undefined && { recoveryPoint: timeOf('--recovery-point', o.recoveryPoint) }),
    ...(o.isolation !== undefined && { isolation: o.isolation }),
    ...(o.sourceIsServing && { sourceIsServing: true }),
  };
  requireDeclarer(configuration, o.requestedBy);
  const { name, client } = await answeringSite(configuration, customer, survivor, 'failover').catch(
    (error: unknown) => {
      if (!(error instanceof Fault)) throw error;
      throw new Fault(
        `${survivor} is to take over, and does not answer: ${error.message}`,
        `Is it ${survivor} that is lost? Then \`--from ${survivor}\`. Else: ${error.try}`,
      );
    },
  );
  try {
    const handle = await startMove(client, name, 'failover', input);
    context.out.say(
      `Declared: ${handle.workflowId} at ${name}. Its page: ${await pageOf(configuration, name, handle)}`,
    );
    await watch(context, handle, { configuration, customer });
  } finally {
    await client.connection.close();
  }
}
