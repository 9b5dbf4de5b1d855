import { failure } from '../../workflows/model/failures.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import type { Seen } from '../services/check.ts';
import { doneBefore, noteEffect, readEffect } from '../services/effects.ts';
import { underEpoch } from '../services/epoch-lock.ts';
import type { PlannedStep } from '../services/planned.ts';
import type { OwnSite } from '../services/site.ts';
import { dnsSwitch } from './dns.ts';
import { haproxySwitch } from './haproxy.ts';
import { noteLed } from './lead-back.ts';
import type { Shift, TrafficSwitch } from './port.ts';

/** Acts that lead users elsewhere. */
export const trafficActs = ['shift-dns', 'shift-proxy'] as const;
export type TrafficAct = (typeof trafficActs)[number];

/** A newer move waits for the lock while users are being led elsewhere: a few questions, each with a limit of its own. */
const SHIFT_MS = 25_000;
/** Of the time of an attempt; the rest is for the lock and the journal. */
const ATTEMPT_SHARE = 0.9;

/**
 * Leads users to the site that the plan moves them to, under a shared lock on the step's epoch: a move that was overtaken
 * changes nothing. `epoch-superseded` too when the name server holds a newer epoch than this site knows of.
 */
export async function shiftTraffic(
  site: OwnSite,
  input: PlannedStep,
  act: TrafficAct,
  signal: AbortSignal,
): Promise<StepResult> {
  const traffic = switchOf(site, input.key.customer, act);
  const limitMs = Math.min(SHIFT_MS, ATTEMPT_SHARE * timeoutOf(input, act));
  const done = await doneBefore(site.database(input.key.customer), input);
  if (done) return done;
  return underEpoch(site, input.key, { limitMs, signal }, async (client, ended) => {
    const before = await readEffect(client, input.key);
    if (before) return before;
    const limit = AbortSignal.timeout(limitMs);
    try {
      const shift = shiftOf(input);
      const result = await traffic.shift(shift, AbortSignal.any([ended, limit]));
      if (act === 'shift-proxy') await noteLed(client, { ...shift, epoch: shift.epoch.number });
      return await noteEffect(client, input, result);
    } catch (error) {
      if (limit.aborted && error === limit.reason)
        throw failure(
          act === 'shift-dns' ? 'dns-unreachable' : 'proxy-unreachable',
          `${act}: not done within ${limitMs} ms`,
        );
      throw error;
    }
  });
}

/** Whether users are led as the step would lead them, whoever did it. */
export async function checkTraffic(
  site: OwnSite,
  input: PlannedStep,
  act: TrafficAct,
  signal: AbortSignal,
): Promise<Seen> {
  return switchOf(site, input.key.customer, act).look(shiftOf(input), signal);
}

/** A failover leaves nothing at the lost site: whoever is led anywhere is led to the survivor. A planned move says who serves. */
function shiftOf({ key: { customer, epoch }, plan: { decisions } }: PlannedStep): Shift {
  return { customer, epoch, to: decisions.planned?.servedAt ?? [decisions.to] };
}

function timeoutOf({ key, plan }: PlannedStep, act: TrafficAct): number {
  const step = plan.decisions.steps.find((s) => s.id === key.step);
  if (step?.act === act) return step.timeoutMs;
  throw failure('input-invalid', `step ${key.step}: the plan that was signed has no such step with ${act}`);
}

/** All switches of a customer that this site's configuration has. */
export function switchesOf(
  site: Pick<OwnSite, 'settings' | 'customer'>,
  id: string,
): Partial<Record<TrafficAct, TrafficSwitch>> {
  const { dns, backends } = site.customer(id);
  const { proxy } = site.settings;
  return {
    ...(dns && { 'shift-dns': dnsSwitch(dns) }),
    ...(proxy && backends && { 'shift-proxy': haproxySwitch({ proxy, backends }) }),
  };
}

function switchOf(site: OwnSite, id: string, act: TrafficAct): TrafficSwitch {
  const found = switchesOf(site, id)[act];
  if (found) return found;
  throw failure('not-configured', `${act}: ${lackOf(act, site.settings.site, id)}`);
}

/** What is missing where an act has no switch. */
export const lackOf = (act: TrafficAct, site: string, customer: string): string =>
  act === 'shift-dns'
    ? `the configuration has no \`customers.${customer}.dns\``
    : `the configuration has not both \`sites.${site}.proxy\` and \`customers.${customer}.proxy\``;
