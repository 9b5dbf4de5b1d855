import type { Command } from 'commander';
import type { Verb } from '../../workflows/model/approvals.ts';
import type { FailoverInput, FailoverStatus } from '../../workflows/model/moves.ts';
import { duration } from '../../workflows/model/rto.ts';
import { Fault } from '../fault.ts';
import { loadPrivateKey } from '../keys.ts';
import { givenPassphrase } from '../passphrase.ts';
import {
  failoverHandle,
  failoverStatus,
  followFailover,
  sendVerb,
  signVerb,
  startFailover,
  type FailoverHandle,
} from '../moves.ts';
import { exits, table, type Context } from './print.ts';
import { registerReports } from './failover-report.ts';
import { answeringSite, customerOf, openConfiguration } from './site.ts';

interface Where {
  customer?: string;
  site?: string;
}

interface Signing extends Where {
  operator: string;
  key: string;
  passphraseFile?: string;
  because?: string;
  step?: string;
}

export function register(program: Command, context: Context): void {
  const group = program.command('failover').description('what to do when a site is lost');
  const verb = (name: string, about: string): Command =>
    group
      .command(name)
      .description(about)
      .option('--customer <id>', 'needed when there is more than one')
      .option('--site <site>', 'the surviving site; needed when both answer');

  verb('start', 'declare a site lost; nothing is changed before two operators have signed the plan')
    .requiredOption('--from <site>', 'the lost site')
    .requiredOption('--reason <text>', 'what happened')
    .requiredOption('--requested-by <operator>', 'who declares it')
    .option('--disrupted-at <time>', 'when it was lost, ISO 8601 (default: now)')
    .option('--recovery-point <time>', 'restore this point or an older one (default: the newest)')
    .option('--isolation <text>', 'how it was cut off, by whom, when: part of what is signed')
    .action(
      (
        o: Where & {
          from: string;
          reason: string;
          requestedBy: string;
          disruptedAt?: string;
          recoveryPoint?: string;
          isolation?: string;
        },
      ) => start(context, o),
    );

  verb('watch', 'follow it until it ends or waits for an operator')
    .option('--once', 'print where it stands and leave')
    .action((o: Where & { once?: boolean }) => atRun(context, o, (handle) => watch(context, handle, o.once ?? false)));

  const signed = (name: Verb, about: string): Command =>
    verb(name, about)
      .requiredOption('--operator <id>', 'who signs')
      .requiredOption('--key <file>', "the operator's private key")
      .option('--passphrase-file <file>', 'opens an encrypted key (or TANDEM_PASSPHRASE)')
      .option('--because <text>', 'kept in the journal')
      .action((o: Signing) => atRun(context, o, (handle) => sign(context, handle, name, o)));
  signed('approve', 'sign the plan as it stands; read it with `watch` before');
  signed('retry', 'another round of a held step').requiredOption('--step <id>', 'the step');
  signed('abort', 'stop it; possible until the fence begins');

  registerReports(group, context);
}

async function start(
  context: Context,
  o: Where & {
    from: string;
    reason: string;
    requestedBy: string;
    disruptedAt?: string;
    recoveryPoint?: string;
    isolation?: string;
  },
): Promise<void> {
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, o.customer);
  const survivor = o.site ?? customer.sites.find((s) => s !== o.from);
  if (!customer.sites.includes(o.from) || survivor === undefined || survivor === o.from) {
    throw new Fault(
      `--from ${o.from}: ${customer.id} is at ${customer.sites.join(' and ')}`,
      'Name the site that is lost.',
    );
  }
  const { name, client } = await answeringSite(configuration, customer, survivor);
  try {
    const input: FailoverInput = {
      customer: customer.id,
      from: o.from,
      reason: o.reason,
      requestedBy: o.requestedBy,
      ...(o.disruptedAt !== undefined && { disruptedAt: timeOf('--disrupted-at', o.disruptedAt) }),
      ...(o.recoveryPoint !== undefined && { recoveryPoint: timeOf('--recovery-point', o.recoveryPoint) }),
      ...(o.isolation !== undefined && { isolation: o.isolation }),
    };
    const handle = await startFailover(client, name, input);
    const ui = configuration.sites.get(name)?.temporal.ui ?? '';
    context.out.say(
      `Declared: ${handle.workflowId} at ${name}. Temporal UI: ${ui}/namespaces/${configuration.sites.get(name)?.temporal.namespace}/workflows/${encodeURIComponent(handle.workflowId)}`,
    );
    await watch(context, handle, false);
  } finally {
    await client.connection.close();
  }
}

function timeOf(option: string, text: string): string {
  const at = Date.parse(text);
  if (Number.isNaN(at))
    throw new Fault(
      `${option} ${JSON.stringify(text)}: is no time`,
      'ISO 8601 is expected, such as 2030-05-01T02:10:00Z.',
    );
  return new Date(at).toISOString();
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
    const line = `${s.phase}: ${s.waitsFor}`;
    if (json()) out.answer(s, '');
    else if (line !== shown) out.answer(null, `${new Date().toISOString().slice(11, 19)}  ${line}`);
    shown = line;
  };
  const last = await followFailover(handle, show, { enough: once ? () => true : asksForPeople, signal });
  if (!json()) out.answer(null, screen(last));
  out.next(last.next);
  if (last.phase === 'closed') return;
  process.exitCode = last.next === null ? exits.failed : exits.held;
}

/** The plan and the steps, as an operator reads them before signing. */
function screen(s: FailoverStatus): string[] {
  const plan = s.plan;
  if (!plan) return [];
  const d = plan.decisions;
  const age = duration(Date.parse(s.disruptedAt) - Date.parse(plan.source.point));
  const observers = d.isolation.observers.map((o) => `${o.name} ${o.saw}`).join(', ');
  return [
    '',
    `Plan ${plan.digest}`,
    `  ${d.customer}: ${d.users} users of ${d.from} move to ${d.to}, epoch ${d.epoch}`,
    `  ${d.from} is ${d.isolation.verdict} (${observers}); isolation: ${d.isolation.statement ?? 'not stated'}`,
    `  recovery point ${plan.source.point}: changes of ${age} are lost; source: ${plan.source.from}${plan.source.applied ? ', already in the standby copy' : ''}`,
    ...(d.acceptedLossMs === null
      ? []
      : [`  BEYOND THE RPO: signing accepts the loss of ${duration(d.acceptedLossMs)}`]),
    `  the promised RTO of ${duration(plan.rtoMs)} ends at ${new Date(Date.parse(s.disruptedAt) + plan.rtoMs).toISOString()}`,
    ...plan.blockers.map((b) => `  CANNOT BE APPROVED: ${b.text}`),
    '',
    ...table([['step', 'act', 'state', ''], ...s.steps.map((x) => [x.id, x.act, x.state, x.summary])]).map(
      (line) => `  ${line}`,
    ),
    ...s.alarms.map((a) => `  alarm ${a.at}: ${a.text}`),
  ];
}

async function sign(context: Context, handle: FailoverHandle, name: Verb, o: Signing): Promise<void> {
  const key = await loadPrivateKey(o.key, await givenPassphrase(o.passphraseFile));
  const status = await failoverStatus(handle);
  if (status.plan && !context.json()) context.out.answer(null, screen(status));
  const request = {
    verb: name,
    operator: o.operator,
    key,
    ...(o.step !== undefined && { step: o.step }),
    ...(o.because !== undefined && { because: o.because }),
  };
  const answer = await sendVerb(handle, signVerb(status, request));
  context.out.answer(answer, `Accepted: ${name} by ${o.operator}. ${answer.phase}: waits for ${answer.waitsFor}`);
  const after = await failoverStatus(handle);
  context.out.next(after.next ?? `tandem failover watch --customer ${after.customer}`);
}
