import { failure } from '../../workflows/model/failures.ts';
import { isHalf } from '../../workflows/model/half.ts';
import { moveName, type FailoverInput, type MoveInput, type MoveWorkflow } from '../../workflows/model/moves.ts';
import { conflictRules } from '../../workflows/model/planned-move.ts';
import type { CustomerSettings } from '../settings.ts';
import type { OwnSite } from './site.ts';

/** What is older is not a disaster that begins now but a mistyped date. */
const OLDEST_DISRUPTION_MS = 30 * 24 * 3_600_000;
/** Between the clock of whoever typed the time and the clock of the run. */
const CLOCK_SLACK_MS = 60_000;
/** Signed, kept in histories and read aloud. */
const LONGEST_TEXT = 500;

const common = ['customer', 'from', 'reason', 'requestedBy'];
const known: Record<MoveWorkflow, readonly string[]> = {
  failover: [...common, 'half', 'disruptedAt', 'recoveryPoint', 'isolation', 'sourceIsServing'],
  relocate: [...common, 'half', 'to', 'rule', 'rehome'],
};
const COHORTS = ', a cohort of them is `site/name`';
/** The form that `toISOString` prints, and the shorter ones people type: always with a zone, or it means another time elsewhere. */
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)$/;

/**
 * Reads what an operator typed, perhaps into Temporal UI by hand. Every fault is reported at once, in one failure. `now`
 * is the declaration, in ms: the same input is judged the same however late an attempt runs.
 */
export function checkInput(
  site: OwnSite,
  input: FailoverInput,
  now: number,
): { input: FailoverInput; customer: CustomerSettings } {
  const { fields, faults } = fieldsOf(input, 'failover');
  for (const key of ['isolation', 'half']) faults.push(...textFaults(fields, key, false));
  const serving = fields['sourceIsServing'];
  if (serving !== undefined && typeof serving !== 'boolean')
    faults.push(`sourceIsServing: ${kindOf(serving)}; true or false is expected`);
  const disruptedAt = time(fields, 'disruptedAt', faults);
  const recoveryPoint = time(fields, 'recoveryPoint', faults);
  if (disruptedAt !== null && disruptedAt > now + CLOCK_SLACK_MS) {
    faults.push(`disruptedAt: ${iso(disruptedAt)} is ahead of the declaration at ${iso(now)}`);
  }
  if (disruptedAt !== null && disruptedAt < now - OLDEST_DISRUPTION_MS) {
    faults.push(`disruptedAt: ${iso(disruptedAt)} is over 30 days before the declaration at ${iso(now)}`);
  }
  if (recoveryPoint !== null && recoveryPoint > now + CLOCK_SLACK_MS) {
    faults.push(`recoveryPoint: ${iso(recoveryPoint)} is ahead of the declaration at ${iso(now)}`);
  }
  if (faults.length > 0) throw failure('input-invalid', `input: ${faults.join('; ')}`, { faults });
  const customer = direction(site, input);
  const { half = input.from } = input;
  if (!isHalf(half, customer.sites))
    throw failure(
      'input-invalid',
      `input: half: ${JSON.stringify(half)}; users of ${customer.id} are at home at ${customer.sites.join(' and ')}${COHORTS}`,
    );
  return { input, customer };
}

/** The same of a planned move: who is to go where, and by which rule both sides are brought together. */
export function checkRelocateInput(
  site: OwnSite,
  input: MoveInput,
): { input: PlannedInput; customer: CustomerSettings } {
  const { fields, faults } = fieldsOf(input, 'relocate');
  for (const key of ['half', 'to']) faults.push(...textFaults(fields, key, true));
  const { rule, rehome } = fields;
  if (rule !== undefined && !conflictRules.some((r) => r === rule))
    faults.push(`rule: ${JSON.stringify(rule)}; allowed: ${conflictRules.join(', ')}`);
  if (rehome !== undefined && typeof rehome !== 'boolean')
    faults.push(`rehome: ${kindOf(rehome)}; true or false is expected`);
  if (rehome === true && moveName('relocate', input) === 'failback')
    faults.push(`rehome: ${String(fields['to'])} is the home of these users already`);
  if (faults.length > 0) throw failure('input-invalid', `input: ${faults.join('; ')}`, { faults });
  const typed = input as PlannedInput;
  const customer = site.customer(typed.customer);
  const own = site.settings.site;
  const sites = customer.sites.join(' and ');
  const wrong = [
    ...(typed.from === own
      ? []
      : [`from ${JSON.stringify(typed.from)}: a planned move runs where its users are, and this is ${own}`]),
    ...(typed.to === customer.peer
      ? []
      : [`to ${JSON.stringify(typed.to)}: from ${own} users move to ${customer.peer}`]),
    ...(isHalf(typed.half, customer.sites)
      ? []
      : [`half ${JSON.stringify(typed.half)}: users of ${customer.id} are at home at ${sites}${COHORTS}`]),
  ];
  if (wrong.length > 0) throw failure('wrong-direction', wrong.join('; '));
  return { input: typed, customer };
}

/** As it is once it was checked. */
export type PlannedInput = MoveInput & Required<Pick<MoveInput, 'half' | 'to'>>;

/** What every move has. */
function fieldsOf(input: unknown, workflow: MoveWorkflow): { fields: Record<string, unknown>; faults: string[] } {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    throw failure(
      'input-invalid',
      `input: ${Array.isArray(input) ? 'a list' : JSON.stringify(input)}; an object is expected`,
    );
  }
  const fields = input as Record<string, unknown>;
  const allowed = known[workflow];
  const faults = Object.keys(fields)
    .filter((key) => !allowed.includes(key))
    .map((key) => `${JSON.stringify(key.slice(0, 60))}: unknown field; allowed: ${allowed.join(', ')}`);
  for (const key of common) faults.push(...textFaults(fields, key, true));
  return { fields, faults };
}

/**
 * Who declares is typed, not proven: his name is asked to be that of an operator who may. Only when the move begins; a
 * move whose declarer has left since goes on.
 */
export function checkDeclarer({ settings }: OwnSite, workflow: MoveWorkflow, input: MoveInput): void {
  const may = settings.operators.filter((o) => o.roles.includes('declare')).map((o) => o.id);
  const { requestedBy } = input;
  if (may.includes(requestedBy)) return;
  throw failure(
    'input-invalid',
    `input: requestedBy: ${JSON.stringify(requestedBy)} may not declare a ${moveName(workflow, input)}; those with the role declare: ${may.join(', ') || 'nobody'}`,
  );
}

/** The customer, when this site can take over for it from the site that is named lost. */
function direction(site: OwnSite, { customer: id, from }: FailoverInput): CustomerSettings {
  const customer = site.customer(id);
  if (from === customer.peer) return customer;
  const own = site.settings.site;
  const seen = from === own ? 'is this site itself' : `is no site of ${id}: ${customer.sites.join(', ')}`;
  throw failure('wrong-direction', `from ${JSON.stringify(from)}: ${seen}; ${own} takes over from ${customer.peer}`);
}

function textFaults(fields: Record<string, unknown>, key: string, required: boolean): string[] {
  const value = fields[key];
  if (value === undefined) return required ? [`${key}: is missing`] : [];
  if (typeof value !== 'string') return [`${key}: ${kindOf(value)}; a text is expected`];
  if (value.trim() === '') return [`${key}: is empty`];
  if (value.length > LONGEST_TEXT) return [`${key}: ${value.length} characters; at most ${LONGEST_TEXT} are allowed`];
  return /\p{Cc}/u.test(value.replaceAll(/[\n\t]/g, ' ')) || !value.isWellFormed()
    ? [`${key}: holds control characters`]
    : [];
}

function time(fields: Record<string, unknown>, key: string, faults: string[]): number | null {
  const value = fields[key];
  if (value === undefined) return null;
  const ms = typeof value === 'string' && TIME.test(value) ? Date.parse(value) : NaN;
  if (!Number.isNaN(ms)) return ms;
  const seen = typeof value === 'string' ? JSON.stringify(value.slice(0, 60)) : kindOf(value);
  faults.push(`${key}: ${seen}; a time such as 2026-03-01T04:05:06Z is expected`);
  return null;
}

const kindOf = (value: unknown): string =>
  value === null ? 'null' : Array.isArray(value) ? 'a list' : `a ${typeof value}`;
const iso = (ms: number): string => new Date(ms).toISOString();
