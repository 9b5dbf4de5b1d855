import { InvalidArgumentError, type Command } from 'commander';
import { moveCommand, type FailoverStatus, type MoveName } from '../../workflows/model/moves.ts';
import { endPhases } from '../../workflows/model/phases.ts';
import { throughAt } from '../../workflows/model/readout.ts';
import type { Configuration, CustomerConfiguration } from '../config/configuration.ts';
import type { Fault } from '../fault.ts';
import {
  failoverStatus,
  followFailover,
  lastBegun,
  moveHandle,
  noMove,
  resumeMove,
  standsBecause,
  workflowOf,
  type FailoverHandle,
} from '../moves.ts';
import { misfitLines, misfitNow, requireFit } from './as-planned.ts';
import { brief } from './failover-brief.ts';
import { planScreen } from './failover-plan.ts';
import { give, registerSigned, sign, type Signing } from './failover-sign.ts';
import { exits, type Context } from './print.ts';
import { answeringSite, customerOf, openConfiguration } from './site.ts';

/** The verbs that every move has, once it is asked for. */

export interface Where {
  customer?: string;
  site?: string;
}

interface Customers {
  configuration: Configuration;
  customer: CustomerConfiguration;
}

/** By what a verb has found its run. */
interface Found extends Customers {
  handle: FailoverHandle;
  /** Why there is nothing to look at; null when there is. */
  none: Fault | null;
}

function begunOf({ handle, none }: Found): FailoverHandle {
  if (none) throw none;
  return handle;
}

/** A verb of a group, with what all of them take. */
export const verbOf =
  (group: Command, site: string) =>
  (name: string, about: string): Command =>
    group
      .command(name)
      .description(about)
      .option('--customer <id>', 'needed when there is more than one')
      .option('--site <site>', site);

export function registerMoveVerbs(
  context: Context,
  name: MoveName,
  verb: (name: string, about: string) => Command,
): void {
  const at = (o: Where, work: (found: Found) => Promise<void>): Promise<void> => atRun(context, name, o, work);
  verb('watch', 'follow it until it ends or waits for an operator')
    .option('--once', 'print where it stands and leave')
    .action((o: Where & { once?: boolean }) =>
      at(o, (found) => watch(context, begunOf(found), { ...found, once: o.once ?? false })),
    );

  verb('brief', 'one page for the next shift: what happened, what stands, what is asked').action((o: Where) =>
    at(o, async (found) => {
      const { configuration, customer } = found;
      const handle = begunOf(found);
      const status = await failoverStatus(handle);
      const misfit = await misfitNow(configuration, customer, status, context.signal);
      context.out.answer(status, brief(status, Date.now(), misfit));
      const stands = await standsBecause(handle, status);
      if (stands) throw stands;
      context.out.next(misfit?.next ?? status.next);
    }),
  );
  registerSigned(verb, (o, verbName) =>
    at(o, ({ configuration, customer, handle }) => {
      const fit = (status: FailoverStatus): Promise<void> =>
        verbName === 'approve' ? requireFit(configuration, customer, status, context.signal) : Promise.resolve();
      return give(context, { handle, name, verb: verbName, fit }, o);
    }),
  );
  verb('resume', 'go on: after a pause, or with a move whose run is gone, from its journal')
    .option('--operator <id>', 'who signs the end of a pause')
    .option('--key <file>', "the operator's private key")
    .option('--passphrase-file <file>', 'opens an encrypted key (or TANDEM_PASSPHRASE)')
    .option('--take-over', 'end a run that is there and answers nobody; what was signed and done still counts')
    .action((o: Partial<Signing> & { takeOver?: boolean }) => resume(context, name, o));
}

/** The tab of Temporal UI that shows a run's current details; it is found under a run only, not under its workflow. */
export async function pageOf(configuration: Configuration, site: string, handle: FailoverHandle): Promise<string> {
  const { ui = '', namespace = '' } = configuration.sites.get(site)?.temporal ?? {};
  const { runId } = await handle.describe();
  return `${ui}/namespaces/${namespace}/workflows/${encodeURIComponent(handle.workflowId)}/${runId}/user-metadata`;
}

async function resume(context: Context, name: MoveName, o: Partial<Signing> & { takeOver?: boolean }): Promise<void> {
  const { operator, key } = o;
  if ((operator === undefined) !== (key === undefined))
    throw new InvalidArgumentError(
      `${name} resume: lacks ${key === undefined ? '--key FILE' : '--operator ID'}; a pause is ended with both, a run that is gone is gone on with without them`,
    );
  if (operator !== undefined && key !== undefined)
    return atRun(context, name, o, ({ handle }) =>
      sign(context, { handle }, { verb: 'resume', operator }, { ...o, key }),
    );
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, o.customer);
  const { name: site, client } = await answeringSite(configuration, customer, o.site, name);
  try {
    const handle = await resumeMove(
      client,
      site,
      { workflow: workflowOf(name), customer: customer.id, name },
      { replace: o.takeOver ?? false },
    );
    context.out.say(
      `Resumed: ${handle.workflowId} at ${site}, from its journal. Its page: ${await pageOf(configuration, site, handle)}`,
    );
    await watch(context, handle, { configuration, customer });
  } finally {
    await client.connection.close();
  }
}

async function atRun(
  context: Context,
  name: MoveName,
  where: Where,
  work: (found: Found) => Promise<void>,
): Promise<void> {
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, where.customer);
  const { name: site, client } = await answeringSite(configuration, customer, where.site, name);
  try {
    const begun = await lastBegun(client, workflowOf(name), customer.id);
    // Whoever signs hears first what is wrong with his key or his file.
    const handle = begun ?? moveHandle(client, workflowOf(name), customer.id);
    const none = begun ? null : noMove(name, customer.id, `the Temporal service of ${site}`);
    await work({ configuration, customer, handle, none });
  } finally {
    await client.connection.close();
  }
}

const asksForPeople = (s: FailoverStatus): boolean => s.next !== null;

export async function watch(
  { out, json, signal }: Context,
  handle: FailoverHandle,
  { configuration, customer, once = false }: Customers & { once?: boolean },
): Promise<void> {
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
  const misfit = await misfitNow(configuration, customer, last, signal);
  if (!json()) out.answer(null, [...planScreen(last), ...misfitLines(misfit)]);
  out.next(misfit?.next ?? last.next ?? (endPhases.includes(last.phase) ? moveCommand(last, 'report') : null));
  if (last.phase === 'closed') return;
  process.exitCode = last.next === null ? exits.failed : exits.held;
}
