import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { parseRunbook, shippedRunbooks } from '../../runbooks/load.ts';
import { runbookSchema } from '../../runbooks/schema.ts';
import { actRules, canPerform, moveKinds, type MoveKind } from '../../workflows/model/acts.ts';
import { signaturesNeeded } from '../../workflows/model/motions.ts';
import type { Runbook, Step } from '../../workflows/model/plan.ts';
import { duration } from '../../workflows/model/rto.ts';
import { Fault } from '../fault.ts';
import { draw, levelsOf } from '../runbook-graph.ts';
import { exits, table, type Context } from './print.ts';

const WHICH = 'a file, or the kind of a shipped one';

export function register(program: Command, { out }: Context): void {
  const group = program.command('runbook').description('the order of a move: what people read, and what is walked');
  group
    .command('list')
    .description('the runbooks that are shipped')
    .action(async () => {
      const all = await Promise.all(moveKinds.map(read));
      const rows = all.map(({ kind, name, steps }) => [kind, name, `${steps.length} steps`]);
      out.answer(all, table([['kind', 'name', ''], ...rows]));
    });
  group
    .command('lint')
    .description('all that is wrong with runbooks, with file, line and column')
    .argument('<files...>', 'runbooks')
    .action(async (files: string[]) => {
      const found = await Promise.all(files.map(async (file) => ({ file, faults: await faultsOf(file) })));
      const faulty = found.filter(({ faults }) => faults.length > 0);
      out.answer(
        found,
        found.flatMap(({ file, faults }) => (faults.length > 0 ? faults : [`${file}: no fault`])),
      );
      if (faulty.length > 0) process.exitCode = exits.failed;
    });
  group
    .command('show')
    .description('its steps in the order in which they can start, with limits and what happens when one fails')
    .argument('[runbook]', WHICH, 'failover')
    .action(async (which: string) => {
      const runbook = await read(which);
      out.answer(runbook, screen(runbook));
    });
  group
    .command('graph')
    .description('a drawing: what can run side by side, and what waits for what')
    .argument('[runbook]', WHICH, 'failover')
    .action(async (which: string) => {
      const runbook = await read(which);
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

async function parsed(which: string): Promise<ReturnType<typeof parseRunbook>> {
  // What lies there under that name is meant first.
  const file = !existsSync(which) && isKind(which) ? shippedRunbooks[which] : which;
  const bytes = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new Fault(
      `runbook ${file}: ${error.code === 'ENOENT' ? 'does not exist' : `cannot be read (${error.code})`}`,
      `Name a file, or one of those that are shipped: ${moveKinds.join(', ')}.`,
    );
  });
  return parseRunbook(file, bytes);
}

async function faultsOf(which: string): Promise<string[]> {
  const found = await parsed(which);
  return 'faults' in found ? found.faults.map((f) => `${f.at}: ${f.path === '' ? '' : `${f.path}: `}${f.text}`) : [];
}

async function read(which: string): Promise<Runbook> {
  const found = await parsed(which);
  if ('runbook' in found) return found.runbook;
  const faults = await faultsOf(which);
  throw new Fault(
    `runbook ${which}: ${faults.length} ${faults.length === 1 ? 'fault' : 'faults'}\n${faults.map((f) => `  ${f}`).join('\n')}`,
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

const argumentsOf = ({ service, request, command, party, channel, message, when }: Step): string =>
  [service, request, command, party, channel, message, when && `only with ${when}`].filter(Boolean).join('; ');

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
