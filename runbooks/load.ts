import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { failure } from '../workflows/model/failures.ts';
import {
  actRules,
  acts,
  moveKinds,
  requiredActs,
  services,
  stepArguments,
  type Act,
  type MoveKind,
  type StepArgument,
} from '../workflows/model/acts.ts';
import { conditions, type Condition } from '../workflows/model/conditions.ts';
import { onFailures, type OnFailure, type Runbook, type Step } from '../workflows/model/plan.ts';
import { PROMISED_RTO_MS, stepFaults } from './checks.ts';
import { unlisted, type Listed } from './names.ts';
import { circles } from './order.ts';
import { faultLine, nearest, Source, type Cursor, type FileFault } from './yaml.ts';

/** The runbooks that are shipped, by the kind of move they are for. */
export const shippedRunbooks = Object.fromEntries(
  moveKinds.map((kind) => [kind, fileURLToPath(new URL(`${kind}.yaml`, import.meta.url))]),
) as Record<MoveKind, string>;

/** More steps than anybody reads before signing; the history of one run stays small, too. */
const MOST_STEPS = 50;
/** One attempt that takes longer than the promised RTO of 24 h is none. */
const LONGEST_TIMEOUT_MS = 24 * 3_600_000;

/** Of one round; they absorb a killed worker or a database that restarts. */
const ATTEMPTS = 5;
const MOST_ATTEMPTS = 20;
/** Names and texts of a step: read aloud, and signed. */
const LONGEST_ARGUMENT = 200;

const stepKeys = [
  'id',
  'act',
  ...stepArguments,
  'needs',
  'when',
  'timeout',
  'attempts',
  'within',
  'outside-rto',
  'on-failure',
] as const;
type StepFields = Record<(typeof stepKeys)[number], Cursor>;

/** What a runbook is for, as far as that is known: each of it adds checks. */
export interface RunbookUse {
  /** The kind of move that it stands for in a configuration. */
  kind?: MoveKind;
  /** The customer's RTO; without one, the promised one. */
  rtoMs?: number;
  /** The places that list what its steps name. */
  places?: readonly Listed[];
}

/** A runbook, or everything that is wrong with it, in the order of the file. `name` is what faults call the file. */
export function parseRunbook(
  name: string,
  bytes: Uint8Array,
  use: RunbookUse = {},
): { runbook: Runbook } | { faults: FileFault[] } {
  const source = new Source(name, Buffer.from(bytes).toString('utf8'));
  if (source.faults.length > 0) return { faults: source.faults };
  const fields = source.root.fields(['kind', 'name', 'steps'] as const);
  const kind = fields.kind.oneOf(moveKinds);
  if (use.kind !== undefined && fields.kind.seen() === JSON.stringify(kind) && kind !== use.kind)
    fields.kind.fault(`${JSON.stringify(kind)}; it stands for ${use.kind} in the configuration`);
  const runbook: Runbook = {
    kind,
    name: fields.name.text('a name of 1 to 80 characters is allowed', (v) => v.trim() !== '' && v.length <= 80),
    digest: createHash('sha256').update(bytes).digest('hex'),
    steps: readSteps(fields.steps, kind, use),
  };
  return source.faults.length > 0 ? { faults: source.faults.toSorted(byPlace) } : { runbook };
}

function byPlace(a: FileFault, b: FileFault): number {
  const [lineA = 0, columnA = 0] = a.at.split(':').slice(-2).map(Number);
  const [lineB = 0, columnB = 0] = b.at.split(':').slice(-2).map(Number);
  return lineA - lineB || columnA - columnB;
}

/**
 * Reads a runbook from disk, by default the one that is shipped for its kind; all its faults in one failure `runbook-invalid`, and
 * that it is not there as well.
 */
export async function loadRunbook(named: string | undefined, use: RunbookUse = {}): Promise<Runbook> {
  const file = named ?? shippedRunbooks[use.kind ?? 'failover'];
  const bytes = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw failure('runbook-invalid', `runbook ${file}: ${whyUnread(error)}`);
  });
  const parsed = parseRunbook(file, bytes, use);
  if ('runbook' in parsed) return parsed.runbook;
  const lines = parsed.faults.map(faultLine);
  throw failure(
    'runbook-invalid',
    `runbook: ${lines.length} fault${lines.length === 1 ? '' : 's'}\n${lines.join('\n')}`,
  );
}

export const whyUnread = ({ code }: NodeJS.ErrnoException): string =>
  code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`;

function readSteps(list: Cursor, kind: MoveKind, { rtoMs = PROMISED_RTO_MS, places = [] }: RunbookUse): Step[] {
  const items = list.items();
  if (items.length > MOST_STEPS) list.fault(`${items.length} steps; at most ${MOST_STEPS} are allowed`);
  const read = items.map((item) => {
    const fields: StepFields = item.fields(stepKeys);
    const needs = fields.needs.present ? fields.needs.items() : [];
    return { fields, needs, step: readStep(fields, needs) };
  });
  const steps = read.map((r) => r.step);
  const at = (id: string): StepFields | undefined => read.find((r) => r.step.id === id)?.fields;
  checkIds(read);
  for (const circle of circles(steps))
    at(circle[0] ?? '')?.needs.fault(`a circle, no step of it can start: ${circle.join(' → ')}`);
  for (const { step, field, text } of unlisted(steps, places)) (at(step)?.[field] ?? list).fault(text);
  // What counts acts waits until every act could be read: a misspelt one would otherwise be two faults.
  const actsRead = read.every((r) => acts.some((act) => JSON.stringify(act) === r.fields.act.seen()));
  if (actsRead) countActs(list, read, kind);
  if (list.source.faults.length > 0) return steps;
  for (const { step, field, text } of stepFaults(steps, kind, rtoMs)) (at(step ?? '')?.[field] ?? list).fault(text);
  return steps;
}

/** What a move of this kind has, and what it has once. */
function countActs(list: Cursor, read: { fields: StepFields; step: Step }[], kind: MoveKind): void {
  for (const act of acts) {
    const [first, ...more] = read.filter((r) => r.step.act === act);
    if (!first && requiredActs[kind].includes(act)) list.fault(`no step with ${act}; a ${kind} has one`);
    for (const { fields } of actRules[act].once ? more : [])
      fields.act.fault(`a second step with ${act}; a ${kind} has one`);
  }
}

function readStep(fields: StepFields, needs: readonly Cursor[]): Step {
  const act = fields.act.oneOf(acts);
  const timeoutMs = upToADay(fields.timeout, actRules[act].usualTimeoutMs);
  const onFailure = readOnFailure(fields['on-failure'], act);
  return {
    id: fields.id.text('an id of small letters, digits and dashes, a letter first, is allowed', (v) =>
      /^[a-z][a-z0-9-]{0,62}$/.test(v),
    ),
    act,
    needs: needs.map((n) => n.text('the id of a step is expected')),
    timeoutMs,
    attempts: fields.attempts.integer(1, MOST_ATTEMPTS, onFailure === 'ask-operator' ? 1 : ATTEMPTS),
    onFailure,
    ...readArguments(fields, act),
    ...(fields.when.present && { when: readWhen(fields.when) }),
    ...(fields.within.present && { withinMs: upToADay(fields.within) }),
    ...(readFlag(fields['outside-rto']) && { outsideRto: true }),
  };
}

/** One condition, or several that must all hold. */
function readWhen(field: Cursor): Condition | Condition[] {
  if (field.seen() !== 'a list') return field.oneOf(conditions);
  const items = field.items();
  if (items.length < 2) field.fault('a list of two or more is expected; one is written without a list');
  return field.listOf(conditions);
}

function upToADay(field: Cursor, missing?: number): number {
  const ms = field.duration(missing);
  if (ms > LONGEST_TIMEOUT_MS) field.fault(`${field.seen()}; at most 24h is allowed`);
  return ms;
}

function readFlag(field: Cursor): boolean {
  if (!field.present || field.seen() === 'false') return false;
  if (field.seen() !== 'true') field.fault(`${field.seen()}; true or false is allowed`);
  return true;
}

/** What the act takes must be there, and nothing else may be. */
function readArguments(fields: StepFields, act: Act): Partial<Pick<Step, StepArgument>> {
  const { takes } = actRules[act];
  for (const name of stepArguments) {
    if (fields[name].present && !takes.includes(name))
      fields[name].fault(`${act} takes ${takes.length > 0 ? `${takes.join(' and ')} only` : 'no such thing'}`);
  }
  const text = (name: StepArgument): string =>
    fields[name].text(`a ${name} of 1 to ${LONGEST_ARGUMENT} characters is expected`, (v) => {
      return v.trim() !== '' && v.length <= LONGEST_ARGUMENT;
    });
  return Object.fromEntries(
    takes.map((name) => [name, name === 'service' ? fields.service.oneOf(services) : text(name)]),
  );
}

function readOnFailure(field: Cursor, act: Act): OnFailure {
  if (!field.present) return 'hold';
  const value = field.oneOf(onFailures);
  if (value === 'continue' && actRules[act].safety) {
    field.fault(`"continue"; ${act} guards the users: a failed one is held`);
  }
  if (value === 'continue' && act === 'wait-for-operator')
    field.fault('"continue"; whoever is waited for is waited for');
  return value;
}

/** Ids are told apart, and needs name steps that exist, each once. */
function checkIds(read: { fields: StepFields; needs: Cursor[]; step: Step }[]): void {
  const ids = new Set<string>();
  const all = [...new Set(read.map((r) => r.step.id))].filter((id) => id !== '');
  for (const { fields, needs, step } of read) {
    if (step.id !== '' && ids.has(step.id)) fields.id.fault(`${JSON.stringify(step.id)} stands here a second time`);
    ids.add(step.id);
    for (const [i, need] of step.needs.entries()) {
      if (need === '') continue; // Told already: it is no text.
      if (!all.includes(need)) needs[i]?.fault(`${JSON.stringify(need)} is no step; ${nearest(need, all)}`);
      else if (step.needs.indexOf(need) !== i) needs[i]?.fault(`${JSON.stringify(need)} is named twice`);
    }
  }
}
