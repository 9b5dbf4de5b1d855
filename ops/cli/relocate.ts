import { Option, type Command } from 'commander';
import { makeRelocatePlan } from '../../activities/services/plan-relocate.ts';
import { openSite } from '../../activities/services/site.ts';
import { homeOf, isHalf } from '../../workflows/model/half.ts';
import { unstarted, type MoveInput, type MoveName } from '../../workflows/model/moves.ts';
import { conflictRules, type ConflictRule } from '../../workflows/model/planned-move.ts';
import type { Configuration, CustomerConfiguration } from '../config/configuration.ts';
import { Fault } from '../fault.ts';
import { startMove } from '../moves.ts';
import { liveMoves } from './as-planned.ts';
import { planScreen } from './failover-plan.ts';
import { registerReports } from './failover-report.ts';
import { pageOf, registerMoveVerbs, verbOf, watch, type Where } from './move-verbs.ts';
import { exits, type Context } from './print.ts';
import { namingOptions, preview, registerReconciled, type Naming } from './reconciled.ts';
import { customerOf, openConfiguration, requireDeclarer, siteOf } from './site.ts';

/** Planned moves: `relocate` to the other site, `failback` home. One workflow, and one set of verbs. */

interface Wanted extends Where {
  to?: string;
  half?: string;
  rule?: ConflictRule;
  rehome?: boolean;
}

interface Previewed extends Wanted, Naming {
  preview?: boolean;
}

interface Asked extends Wanted {
  reason: string;
  requestedBy: string;
}

const about = {
  relocate: 'users move to the other site as planned: both sites are there',
  failback: 'users come home from the site that took them over',
} as const;

type Planned = keyof typeof about;

export const register = (program: Command, context: Context): void => registerAs('relocate', program, context);
export const registerFailback = (program: Command, context: Context): void => registerAs('failback', program, context);

function registerAs(name: Planned, program: Command, context: Context): void {
  const group = program.command(name).description(about[name]);
  const verb = verbOf(group, 'the site where the users are now; needed when both answer and none runs');
  const wanted = (command: Command): Command => {
    const to = '--to <site>';
    const usual = name === 'relocate' ? 'the site that they leave' : 'the site that they come to';
    command
      .requiredOption(to, name === 'relocate' ? 'where they are to be' : 'their home, where they are to be')
      .option('--half <half>', `the home of the users who move, or a cohort of them, site/name (default: ${usual})`);
    if (name === 'relocate')
      command.option('--rehome', 'that site becomes their home for good, once they are served there');
    return command.addOption(
      new Option('--rule <rule>', 'whose change counts where both sites changed the same').choices(conflictRules),
    );
  };
  namingOptions(wanted(verb('plan', 'what it would do now; starts nothing, asks no worker')))
    .option('--preview', 'also whose changes of both sites would be brought together, and how')
    .action((o: Previewed) => showPlan(context, name, o));
  wanted(verb('start', 'ask for it; nothing is changed before two operators have signed the plan'))
    .requiredOption('--reason <text>', 'why')
    .requiredOption('--requested-by <operator>', 'who asks')
    .action((o: Asked) => start(context, name, o));
  registerMoveVerbs(context, name, verb);
  registerReports(group, context, name);
  registerReconciled(group, context);
}

/** Between the sites of the customer, by what was typed. */
function direction(
  configuration: Configuration,
  name: Planned,
  o: Wanted,
): { customer: CustomerConfiguration; from: string; to: string; half: string } {
  const customer = customerOf(configuration, o.customer);
  const { id, sites } = customer;
  const to = o.to ?? '';
  const from = sites.find((s) => s !== to);
  if (!sites.includes(to) || from === undefined)
    throw new Fault(
      `--to ${JSON.stringify(to)}: ${id} is at ${sites.join(' and ')}`,
      'Name the site to which they move.',
    );
  const half = o.half ?? (name === 'failback' ? to : from);
  if (!isHalf(half, sites))
    throw new Fault(
      `--half ${JSON.stringify(half)}: users of ${id} are at home at ${sites.join(' and ')}`,
      'Name one of them, or a cohort of its users: `tandem cohort list`.',
    );
  if (name === 'failback' && homeOf(half) !== to)
    throw new Fault(
      `--half ${half}, --to ${to}: that is not their home`,
      `\`tandem relocate start --half ${half} --to ${to}\` moves them there all the same.`,
    );
  if (name === 'relocate' && homeOf(half) === to)
    throw new Fault(
      `--half ${half}, --to ${to}: that is their home`,
      `\`tandem failback start --customer ${id} --to ${to}${half === to ? '' : ` --half ${half}`} --reason TEXT --requested-by ID\` brings them home.`,
    );
  return { customer, from, to, half };
}

const inputOf = (
  { customer, from, to, half }: ReturnType<typeof direction>,
  { rule, rehome }: Wanted,
  { reason, requestedBy }: Pick<Asked, 'reason' | 'requestedBy'>,
): MoveInput => ({
  customer: customer.id,
  half,
  from,
  to,
  ...(rule && { rule }),
  ...(rehome && { rehome }),
  reason,
  requestedBy,
});

async function start(context: Context, name: Planned, o: Asked): Promise<void> {
  const configuration = await openConfiguration(context);
  const way = direction(configuration, name, o);
  requireDeclarer(configuration, o.requestedBy);
  await refuseBeside(configuration, name, way);
  const client = await siteOf(configuration, way.from).client();
  try {
    const handle = await startMove(client, way.from, 'relocate', inputOf(way, o, o));
    context.out.say(
      `Asked for: ${handle.workflowId} at ${way.from}. Its page: ${await pageOf(configuration, way.from, handle)}`,
    );
    await watch(context, handle, { configuration, customer: way.customer });
  } finally {
    await client.connection.close();
  }
}

/** Two planned moves at once, one at each site, would each undo what the other has planned. What is live at a silent site nobody can ask. */
async function refuseBeside(
  configuration: Configuration,
  name: Planned,
  { customer, to }: Pick<ReturnType<typeof direction>, 'customer' | 'to'>,
): Promise<void> {
  const [live] = await liveMoves(configuration, customer.id, to);
  if (live === undefined) return;
  throw new Fault(
    `${name} of ${customer.id}: at ${to} ${live} is live, and a customer has one move at a time`,
    `\`tandem status --customer ${customer.id}\` shows where it stands; let it end, or end it there, first.`,
  );
}

/** Made by the code of a real one, here and not by the worker. */
async function showPlan(context: Context, name: Planned, o: Previewed): Promise<void> {
  const configuration = await openConfiguration(context);
  const way = direction(configuration, name, o);
  const site = openSite(await siteOf(configuration, way.from).settings());
  const input = inputOf(way, o, { reason: 'a look at the plan', requestedBy: 'nobody' });
  try {
    const declaredAt = new Date().toISOString();
    const plan = await makeRelocatePlan(site, { input, declaredAt }, { signal: context.signal });
    const steps = plan.decisions.steps.map(({ id, act }) => ({ id, act, ...unstarted, facts: {} }));
    const shown = { plan, disruptedAt: declaredAt, steps, alarms: [], kind: name as MoveName };
    context.out.answer(plan, ['Nothing was started.', ...planScreen(shown)]);
    if (o.preview) await preview(context, site, plan, o);
    if (plan.blockers.length > 0) process.exitCode = exits.failed;
    else
      context.out.next(
        `tandem ${name} start --customer ${way.customer.id}${name === 'relocate' ? ` --half ${way.half}` : ''} --to ${way.to}${o.rule ? ` --rule ${o.rule}` : ''}${o.rehome ? ' --rehome' : ''} --reason TEXT --requested-by ID`,
      );
  } finally {
    await site.close();
  }
}
