import { makePlan } from '../../activities/services/plan.ts';
import { openSite } from '../../activities/services/site.ts';
import { moveCommand, unstarted, type FailoverInput, type FailoverStatus } from '../../workflows/model/moves.ts';
import { blockedLines, heldLines, paceLines, readout, serviceLines } from '../../workflows/model/readout.ts';
import { clockWords } from '../../workflows/model/clock.ts';
import { halvesOf } from '../../workflows/model/plan.ts';
import { duration } from '../../workflows/model/rto.ts';
import { Fault } from '../fault.ts';
import { exits, table, type Context } from './print.ts';
import { customerOf, openConfiguration, siteOf } from './site.ts';

export interface PlanOptions {
  customer?: string;
  site?: string;
  from: string;
  half?: string;
  disruptedAt?: string;
  recoveryPoint?: string;
  isolation?: string;
  sourceIsServing?: boolean;
}

/**
 * The plan of a failover that nobody has declared, made by the code of a real one, here and not by the worker: it needs
 * the survivor's database and vault. The same decisions give the same digest as in the run.
 */
export async function showPlan(context: Context, o: PlanOptions): Promise<void> {
  const { out } = context;
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, o.customer);
  if (!customer.sites.includes(o.from))
    throw new Fault(
      `--from ${o.from}: ${customer.id} is at ${customer.sites.join(' and ')}`,
      'Name the site that would be lost.',
    );
  const survivor = o.site ?? customer.sites.find((s) => s !== o.from) ?? '';
  const site = openSite(await siteOf(configuration, survivor).settings());
  const declaredAt = new Date().toISOString();
  const input: FailoverInput = {
    customer: customer.id,
    from: o.from,
    ...(o.half !== undefined && { half: o.half }),
    reason: 'a look at the plan',
    requestedBy: 'nobody',
    ...(o.disruptedAt !== undefined && { disruptedAt: timeOf('--disrupted-at', o.disruptedAt) }),
    ...(o.recoveryPoint !== undefined && { recoveryPoint: timeOf('--recovery-point', o.recoveryPoint) }),
    ...(o.isolation !== undefined && { isolation: o.isolation }),
    ...(o.sourceIsServing && { sourceIsServing: true }),
  };
  try {
    const plan = await makePlan(site, { input, declaredAt }, { signal: context.signal });
    const steps = plan.decisions.steps.map(({ id, act }) => ({ id, act, ...unstarted, facts: {} }));
    const disruptedAt = plan.decisions.disruptedAt;
    out.answer(plan, ['Nothing was started.', ...planScreen({ plan, disruptedAt, steps, alarms: [] })]);
    const { isolation } = plan.decisions;
    // What a statement of isolation would mend is worth a start; what it would not is to be looked into first.
    if (plan.blockers.length === 0 || (isolation.statement === null && isolation.verdict !== 'serving'))
      out.next(`tandem failover start --customer ${customer.id} ${givenAgain(o)}`);
    if (plan.blockers.length > 0) process.exitCode = exits.failed;
  } finally {
    await site.close();
  }
}

/** The same that was looked at, as it is declared. */
function givenAgain(o: PlanOptions): string {
  const of = (option: string, value: string | undefined): string[] =>
    value === undefined ? [] : [option, /\s/.test(value) ? JSON.stringify(value) : value];
  return [
    ...of('--from', o.from),
    ...of('--half', o.half),
    ...of('--site', o.site),
    ...of('--reason', 'TEXT'),
    ...of('--requested-by', 'ID'),
    ...of('--isolation', o.isolation ?? 'TEXT'),
    ...of('--disrupted-at', o.disruptedAt),
    ...of('--recovery-point', o.recoveryPoint),
    ...(o.sourceIsServing ? ['--source-is-serving'] : []),
  ].join(' ');
}

export function timeOf(option: string, text: string): string {
  const at = Date.parse(text);
  if (Number.isNaN(at))
    throw new Fault(
      `${option} ${JSON.stringify(text)}: is no time`,
      'ISO 8601 is expected, such as 2030-05-01T02:10:00Z.',
    );
  return new Date(at).toISOString();
}

/** The plan and the steps, as an operator reads them before signing. */
export function planScreen(
  s: Pick<FailoverStatus, 'plan' | 'disruptedAt' | 'steps' | 'alarms'> & Partial<FailoverStatus>,
): string[] {
  const plan = s.plan;
  if (!plan) return [];
  const d = plan.decisions;
  const observers = d.isolation.observers.map((o) => `${o.name} ${o.saw}`).join(', ');
  return [
    '',
    `Plan ${plan.digest}`,
    `  ${d.customer}: ${d.users} users of ${halvesOf(d).join(' and ')} move ${d.planned ? `from ${d.from} ` : ''}to ${d.to}, epoch ${d.epoch}`,
    ...(d.planned
      ? []
      : [`  ${d.from} is ${d.isolation.verdict} (${observers}); isolation: ${d.isolation.statement ?? 'not stated'}`]),
    ...Object.entries(plan.observed ?? {}).map(([name, text]) => `    ${name}: ${text}`),
    ...(d.planned
      ? []
      : [
          `  the promised RTO of ${duration(plan.rtoMs)} ends at ${new Date(Date.parse(plan.clock?.from ?? s.disruptedAt) + plan.rtoMs).toISOString()}`,
          ...(plan.clock ? [`  it counts from ${plan.clock.from}: ${clockWords[plan.clock.by]}`] : []),
        ]),
    ...[...paceLines(s), ...serviceLines(s), ...readout(plan, s.phase)].map((line) => `  ${line}`),
    '',
    ...table([['step', 'act', 'state', ''], ...s.steps.map((x) => [x.id, x.act, x.state, x.summary])]).map(
      (line) => `  ${line}`,
    ),
    ...s.alarms.map((a) => `  alarm ${a.at}: ${a.text}`),
    ...blockedLines(s),
    ...heldLines(s),
    ...(s.breakGlass?.countsAt
      ? [
          `To stop it: \`${moveCommand({ customer: d.customer, from: d.from, to: d.to }, 'veto')} --operator ID --key FILE --because TEXT\``,
        ]
      : []),
  ];
}
