import { failure } from '../../../workflows/model/failures.ts';
import type { StepResult } from '../../../workflows/model/moves.ts';
import { halfOf, halvesOf, type Plan, type Step } from '../../../workflows/model/plan.ts';
import { doneBefore, noteEffect } from '../../services/effects.ts';
import type { PlannedStep } from '../../services/planned.ts';
import type { OwnSite } from '../../services/site.ts';
import type { CustomerSettings } from '../../settings.ts';
import { isProbed, type ProbeQuestion, type ProbedService, type ProbeResult } from './port.ts';
import { probeService } from './probe.ts';
import { provisionerOf } from './provisioner.ts';

/** Of the time of an attempt; the rest is for the journal. */
const ATTEMPT_SHARE = 0.9;

type Asked = Pick<ProbeQuestion, 'target' | 'accounts' | 'relay' | 'partner'>;

interface ProbedPlace {
  site: string;
  /** The home of the accounts. */
  half: string;
  /** Accounts can be made there. */
  provisions: boolean;
}

/**
 * Looks at a service of the site that they move to as the users who were moved find it, by the synthetic accounts of their half. One that does
 * not do what it promises is `verification-failed`, with what was expected and what was seen.
 */
export async function probeStep(
  site: OwnSite,
  input: PlannedStep,
  { service, signal }: { service: ProbedService; signal: AbortSignal },
): Promise<StepResult> {
  const { key, plan } = input;
  const customer = site.customer(key.customer);
  const database = site.database(customer.id);
  const done = await doneBefore(database, input);
  if (done) return done;
  const { ms, facts } = await probeMoved(site, input, { service, signal });
  const result: StepResult = {
    summary: `${service} works at ${plan.decisions.to} for users of ${halvesOf(plan.decisions).join(' and ')}: seen in ${ms} ms`,
    facts: { service, ms, ...facts },
  };
  return database.transaction((client) => noteEffect(client, input, result));
}

/** Notes nothing; throws what was not met. */
export async function probeMoved(
  site: OwnSite,
  { key, plan }: PlannedStep,
  { service, signal }: { service: ProbedService; signal: AbortSignal },
): Promise<ProbeResult> {
  const customer = site.customer(key.customer);
  const { to, steps } = plan.decisions;
  const half = halfOf(plan.decisions);
  // Accounts are made by a site's own worker, in its own database.
  const provisioner = to === site.settings.site ? provisionerOf(site, customer, half) : null;
  const at = { site: to, half, provisions: provisioner !== null };
  const asked = questionOf(customer, at, service);
  if (typeof asked === 'string') throw failure('not-configured', `step ${key.step}: ${asked}`);
  const timeoutMs = steps.find(({ id }) => id === key.step)?.timeoutMs ?? Infinity;
  const limitMs = Math.min(customer.probes?.limitMs ?? 0, ATTEMPT_SHARE * timeoutMs);
  const result = await probeService({ ...asked, provisioner, service, limitMs, signal });
  if (result.ok) return result;
  const text = `${customer.id}: ${service} at ${to}: ${result.because}`;
  throw failure('verification-failed', text, { service, ms: result.ms });
}

/** Steps that look at a service which cannot be looked at: said before anybody signs. */
export function unprobed(customer: CustomerSettings, at: ProbedPlace, steps: readonly Step[]): Plan['blockers'] {
  return steps
    .filter(({ act, service }) => act === 'probe' && service !== 'contacts')
    .flatMap(({ id, service }) => {
      const asked = isProbed(service)
        ? questionOf(customer, at, service)
        : `${service} is followed as an external update, and not probed`;
      return typeof asked === 'string' ? [{ kind: 'not-configured', text: `step ${id}: ${asked}` } as const] : [];
    });
}

/** What is asked, or why it cannot be. */
export function questionOf(
  customer: CustomerSettings,
  { site, half, provisions }: ProbedPlace,
  service: ProbedService,
): Asked | string {
  const { id, domain, probes, options } = customer;
  const target = probes?.targets.get(site);
  const accounts = probes?.accounts.get(half);
  if (!probes || !target) return `${id} has no probes configured`;
  if (!accounts) return `${id} has no probe accounts configured that are users of ${half}`;
  if (service === 'web-access' && target.web === null)
    return `no web address of ${site} is configured for ${id}'s probes`;
  if (service === 'trusted-federation' && !probes.partner) return `${id} has no account at a partner configured`;
  if (service === 'archiving' && !options.includes('content-archiving'))
    return `${id} has not bought content-archiving; write \`when: content-archiving\``;
  if (service === 'provisioning' && !provisions) return `accounts cannot be made at ${site}: its API is not configured`;
  return {
    target: { domain, ...target },
    accounts,
    relay: options.includes('external-av'),
    partner: probes.partner,
  };
}
