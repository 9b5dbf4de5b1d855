import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { parseRunbook, shippedRunbooks, whyUnread, type RunbookUse } from '../../runbooks/load.ts';
import { runbookSchema } from '../../runbooks/schema.ts';
import { faultLine } from '../../runbooks/yaml.ts';
import { conditionsOf } from '../../workflows/model/applicable.ts';
import { actRules, canPerform, moveKinds, type MoveKind } from '../../workflows/model/acts.ts';
import { signaturesNeeded } from '../../workflows/model/motions.ts';
import type { Runbook, Step } from '../../workflows/model/plan.ts';
import { duration } from '../../workflows/model/rto.ts';
import { Fault } from '../fault.ts';
import { draw, levelsOf } from '../runbook-graph.ts';
import { runbookFile, useBy } from '../runbooks.ts';
import { exits, table, type Context } from './print.ts';
import { customerOf, openConfiguration } from './site.ts';

const WHICH = 'a file, or the kind of a move';
const CUSTOMER = [
  '--customer <id>',
  'his own runbooks where he has them, and what his configuration says of them',
] as const;

interface ForCustomer {
  customer?: string;
}

/** A runbook that is asked for, and what it is read against. */
interface Asked {
  file: string;
  use: RunbookUse;
}

export function register(program: Command, context: Context): void {
  const { out } = context;
  const group = program.command('runbook').description('the order of a move: what people read, and what is walked');
  group
    .command('list')
    .description('the runbooks that are shipped, or those of a customer')
    .option(...CUSTOMER)
    .action(async (o: ForCustomer) => {
      const ask = await asker(context, o);
      const all = await Promise.all(moveKinds.map((kind) => read(ask(kind))));
      const rows = all.map(({ kind, name, steps }) => [kind, name, `${steps.length} steps`, whose(ask(kind))]);
      out.answer(all, table([['kind', 'name', '', ''], ...rows]));
    });
  group
    .command('lint')
    .description('all that is wrong with runbooks, with file, line and column')
    .argument('<files...>', 'runbooks')
    .option(...CUSTOMER)
    .addHelpText('after', '\nWith --customer or --config, also names that the sites do not list, and his RTO.')
    .action(async (files: string[], o: ForCustomer) => {
      const ask = await asker(context, o, program.opts<{ config?: string }>().config !== undefined);
      const found = await Promise.all(files.map(async (file) => ({ file, faults: await faultsOf(ask(file)) })));
      const faulty = found.filter(({ faults }) => faults.length > 0);
      out.answer(found, [
        ...found.flatMap(({ file, faults }) => (faults.length > 0 ? faults : [`${file}: no fault`])),
        ...(faulty.length > 0
          ? ['Try: Correct the lines named, then lint again; `tandem runbook schema` is for your editor.']
          : []),
      ]);
      if (faulty.length > 0) process.exitCode = exits.failed;
    });
  group
    .command('show')
    .description('its steps in the order in which they can start, with limits and what happens when one fails')
    .argument('[runbook]', WHICH, 'failover')
    .option(...CUSTOMER)
    .action(async (which: string, o: ForCustomer) => {
      const runbook = await read((await asker(context, o))(which));
      out.answer(runbook, screen(runbook));
    });
  group
    .command('graph')
    .description('a drawing: what can run side by side, and what waits for what')
    .argument('[runbook]', WHICH, 'failover')
    .option(...CUSTOMER)
    .action(async (which: string, o: ForCustomer) => {
      const runbook = await read((await asker(context, o))(which));
      out.answer(
        levelsOf(runbook.steps).map((level) => level.map(({ id }) => id)),
        [title(runbook), '', ...draw(runbook.steps)],
      );
    });
  group
    .command('schema')
    .description('its JSON Schema, for editors')
    .action(() => out.answer(runbookSchema(), JSON.stringify(runbookSchema(), null, 2)));
}

const isKind = (which: string): which is MoveKind => (moveKinds as readonly string[]).includes(which);

/** How a word on the command line is understood; without a customer, no configuration is read. */
async function asker(
  context: Context,
  { customer: id }: ForCustomer,
  configured = false,
): Promise<(which: string) => Asked> {
  // What lies there under that name is meant first.
  const kindOf = (which: string): MoveKind | null => (!existsSync(which) && isKind(which) ? which : null);
  if (id === undefined && !configured)
    return (which) => {
      const kind = kindOf(which);
      return { file: kind === null ? which : shippedRunbooks[kind], use: {} };
    };
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, id);
  const use = useBy(configuration, customer);
  return (which) => {
    const kind = kindOf(which);
    if (kind === null) return { file: which, use };
    return { file: runbookFile(configuration, customer, kind), use: { ...use, kind } };
  };
}

const whose = ({ file }: Asked): string => (Object.values(shippedRunbooks).includes(file) ? 'shipped' : file);

async function parsed({ file, use }: Asked): Promise<ReturnType<typeof parseRunbook>> {
  const bytes = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new Fault(
      `runbook ${file}: ${whyUnread(error)}`,
      `Name a file, or one of those that are shipped: ${moveKinds.join(', ')}.`,
    );
  });
  return parseRunbook(file, bytes, use);
}

async function faultsOf(asked: Asked): Promise<string[]> {
  const found = await parsed(asked);
  return 'faults' in found ? found.faults.map(faultLine) : [];
}

async function read(asked: Asked): Promise<Runbook> {
  const found = await parsed(asked);
  if ('runbook' in found) return found.runbook;
  const faults = found.faults.map(faultLine);
  throw new Fault(
    `runbook ${asked.file}: ${faults.length} ${faults.length === 1 ? 'fault' : 'faults'}\n${faults.map((f) => `  ${f}`).join('\n')}`,
    '`tandem runbook lint` reads it again; nothing was started.',
  );
}

const title = ({ name, kind, steps, digest }: Runbook): string =>
  `${name} (${kind}), ${steps.length} steps, ${digest.slice(0, 16)}`;

function screen(runbook: Runbook): string[] {
  const rows = levelsOf(runbook.steps)
    .flat()
    .map((step) => [step.id, step.act, argumentsOf(step), step.needs.join(', '), limits(step), onFailure(step)]);
  const missing = runbook.steps.filter(({ act }) => !canPerform(act)).map(({ act }) => act);
  return [
    title(runbook),
    '',
    ...table([['step', 'act', '', 'needs', 'limit', 'when it fails'], ...rows]),
    ...(missing.length > 0 ? ['', `This version does not perform ${[...new Set(missing)].join(', ')}.`] : []),
  ];
}

function argumentsOf(step: Step): string {
  const { service, request, command, party, channel, message, when } = step;
  const only = when && `only with ${conditionsOf(step).join(' and ')}`;
  return [service, request, command, party, channel, message, only].filter(Boolean).join('; ');
}

function limits({ timeoutMs, withinMs, attempts, outsideRto }: Step): string {
  const each = withinMs === undefined ? `${attempts} × ${duration(timeoutMs)}` : `again for ${duration(withinMs)}`;
  return outsideRto ? `${each}, outside the RTO` : each;
}

function onFailure({ act, onFailure: then }: Step): string {
  if (then === 'continue') return 'goes on, a gap';
  const skip = signaturesNeeded('skip', act) === 2 ? 'two skip it' : 'one skips it';
  const undo = actRules[act].undo;
  return `held, ${skip}${undo === null ? '' : `; undone by ${undo}`}`;
}
