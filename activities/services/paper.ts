import { randomUUID } from 'node:crypto';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { actsForCustomers } from '../../workflows/model/acts-for-customers.ts';
import { whereToLook } from '../../workflows/model/forecast.ts';
import type { Plan, Step } from '../../workflows/model/plan.ts';
import { readinessLines, type Readiness } from '../../workflows/model/readiness.ts';
import { readout } from '../../workflows/model/readout.ts';
import { duration } from '../../workflows/model/rto.ts';
import type { OwnSite } from './site.ts';

/** Where the paper runbook of a customer lies on this site's disk. */
export const paperPath = ({ settings }: OwnSite, customer: string): string =>
  join(settings.reportsFolder, `paper-runbook-${customer}.txt`);

/**
 * Writes what people do when the peer is lost, to be printed: who may sign, what to type, what comes in which order and where to
 * look when it stands. It is made anew with every look at the readiness, so that the newest print is of the last half hour. No
 * names of users are in it, and no secrets.
 */
export async function writePaper(site: OwnSite, found: Readiness, plan: Plan | null): Promise<void> {
  const path = paperPath(site, found.customer);
  await mkdir(site.settings.reportsFolder, { recursive: true });
  // Whoever prints it meanwhile gets a whole one.
  const part = `${path}.${randomUUID()}`;
  await writeFile(part, `${paper(found, plan).join('\n')}\n`);
  await rename(part, path);
}

export function paper(found: Readiness, plan: Plan | null): string[] {
  const { customer, from, to, at } = found;
  const site = `--customer ${customer} --site ${to}`;
  return [
    `WHEN SITE ${from.toUpperCase()} IS LOST: ${customer}`,
    `As of ${at}. ${readinessLines(found).join('. ')}.`,
    '',
    '1. Make sure that it serves nobody: power, link or route. Note how, by whom, when: that is the isolation, and is signed.',
    '2. Declare it:',
    `   tandem failover start ${site} --from ${from} --reason TEXT --requested-by ID --isolation TEXT`,
    '3. Two operators read the plan and sign it, one of them a commander:',
    `   tandem failover approve ${site} --operator ID --key FILE`,
    ...(plan ? signers(plan) : []),
    '4. Follow it; whatever waits for you is said there, with the command:',
    `   tandem failover watch ${site}        tandem failover brief ${site}`,
    '5. Until the first user is served, two can turn it back:',
    `   tandem failover turn-back ${site} --operator ID --key FILE --because TEXT`,
    `6. Should Temporal of ${to} be lost or empty, start a worker, then: tandem failover resume ${site}`,
    '',
    ...(plan ? planned(plan) : [`No plan can be made now: ${found.stops.join('; ')}`]),
  ];
}

function signers({ decisions: { approvers } }: Plan): string[] {
  const may = approvers.filter(({ roles }) => roles.some((role) => role === 'approve' || role === 'commander'));
  return may.map(({ id, roles }) => `   may sign: ${id} (${roles.join(', ')})`);
}

function planned(plan: Plan): string[] {
  const { steps, runbook } = plan.decisions;
  return [
    'What it would come to now:',
    ...readout(plan).map((line) => `- ${line}`),
    '',
    `Steps of runbook "${runbook.name}":`,
    ...steps.flatMap((step) => stepLines(step, plan)),
  ];
}

function stepLines(step: Step, { forecast }: Plan): string[] {
  const usual = forecast?.steps.find(({ id }) => id === step.id);
  const after = step.needs.length > 0 ? `after ${step.needs.join(', ')}` : 'at once';
  const takes = usual ? `, usually ${duration(usual.ms)}` : '';
  return [
    `[ ] ${step.id}: ${actsForCustomers[step.act]}${step.service ? ` (${step.service})` : ''}; ${after}${takes}, ${duration(step.timeoutMs)} at most`,
    `    if it stands: ${whereToLook[step.act]}`,
  ];
}
