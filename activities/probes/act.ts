import { failure } from '../../workflows/model/failures.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import type { PlannedStep } from '../services/planned.ts';
import type { OwnSite } from '../services/site.ts';
import { isProbed } from './services/port.ts';
import { probeMoved, probeStep } from './services/step.ts';

export interface ProbeMeans {
  /** Compares the rows of contacts and ACLs: bulk data, which a process of its own moves. */
  rows: () => Promise<StepResult>;
  signal: AbortSignal;
}

/**
 * A step that looks at a service. `contacts`: every row, and where accounts are configured the block list as a user meets it;
 * all others as their users find them.
 */
export async function probe(site: OwnSite, input: PlannedStep, { rows, signal }: ProbeMeans): Promise<StepResult> {
  const { key, plan } = input;
  const service = plan.decisions.steps.find(({ id }) => id === key.step)?.service;
  if (!isProbed(service))
    throw failure('input-invalid', `step ${key.step}: there is no probe of ${service ?? 'no service'}`);
  if (service !== 'contacts') return probeStep(site, input, { service, signal });
  const compared = await rows();
  if (!site.customer(key.customer).probes) return compared;
  const { ms } = await probeMoved(site, input, { service, signal });
  return {
    ...compared,
    summary: `${compared.summary}; a blocked user stays blocked`,
    facts: { ...compared.facts, blockSeenMs: ms },
  };
}
