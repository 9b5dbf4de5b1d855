import { failure } from '../../workflows/model/failures.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import type { Plan, Step } from '../../workflows/model/plan.ts';
import type { Service } from '../../workflows/model/acts.ts';
import { lockEpoch } from '../contacts/restore.ts';
import type { Archiving } from './archiving.ts';
import type { Seen } from './check.ts';
import { doneBefore, noteEffect } from './effects.ts';
import type { OwnSite } from './site.ts';
import type { PlannedStep } from './planned.ts';

/** Services that a step can enable. The others of the reference service run wherever it does. */
const enabled: readonly Service[] = ['archiving'];

/** A step that would fail in the middle of the move: it is said before anybody signs. */
export const cannotEnable = (steps: readonly Step[]): Plan['blockers'] =>
  steps
    .filter(({ act, service }) => act === 'enable-service' && !enabled.some((s) => s === service))
    .map(({ id, service }) => ({
      kind: 'act-missing',
      text: `step ${id}: this version enables ${enabled.join(', ')}, and not ${service ?? 'no service'}`,
    }));

/**
 * Archiving is on wherever the service runs with it, and nothing is to be switched: the step sees to it that this is so
 * before anybody is served. `archiving-off` when the service says that it does not keep every message. A service that cannot
 * be asked is told of.
 */
export async function enableService(site: OwnSite, input: PlannedStep, signal: AbortSignal): Promise<StepResult> {
  const { key, plan } = input;
  const customer = site.customer(key.customer);
  const service = plan.decisions.steps.find((s) => s.id === key.step)?.service;
  if (service !== 'archiving')
    throw failure('input-invalid', `step ${key.step}: ${service ?? 'no service'} cannot be enabled by this version`);
  const database = site.database(customer.id);
  const done = await doneBefore(database, input);
  if (done) return done;
  const found = await site.archiving(customer.id, signal);
  if (found.on === false)
    throw failure('archiving-off', `archiving of ${customer.id} at ${site.settings.site}: ${found.because}`);
  return database.transaction(async (client) => {
    await lockEpoch(client, database.name, customer.id, key.epoch);
    return noteEffect(client, input, resultOf(site.settings.site, found));
  });
}

/** Whether every message is archived here. */
export async function isEnabled(site: OwnSite, { key }: PlannedStep, signal: AbortSignal): Promise<Seen> {
  const found = await site.archiving(key.customer, signal);
  const summary = found.on === false ? `not every message is archived: ${found.because}` : told(found);
  return { seen: found.on !== false, summary };
}

const told = (found: Exclude<Archiving, { on: false }>): string =>
  found.on === true ? 'every message is archived' : `whether messages are archived was not seen: ${found.because}`;

const resultOf = (at: string, found: Exclude<Archiving, { on: false }>): StepResult => ({
  summary: `${at}: ${told(found)}`,
  facts: { service: 'archiving', seen: found.on === true },
  ...(found.on === null && found.asked && { alarms: [`${at}: ${told(found)}`] }),
});
