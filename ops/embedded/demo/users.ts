import { setTimeout } from 'node:timers/promises';
import { probeService } from '../../../activities/probes/services/probe.ts';
import type { SiteSettings } from '../../../activities/settings.ts';
import type { FailoverReport } from '../../../workflows/model/moves.ts';
import { Fault } from '../../fault.ts';

/** What users of the lost half notice: real clients, as they have them. */

export interface SeenService {
  service: string;
  ok: boolean;
  /** What its clients took; -1 when it was not seen. */
  ms: number;
}

/** One of the made-up users of the lost half: the first. */
const USER = 'u000000';
const ATTEMPT_MS = 5000;
const RETRY_MS = 100;
const LIMIT_MS = 90_000;

/** Tries to sign in at the survivor, as a client does that was cut off, until it may. Times from the call, ms. */
export async function signInAgain(
  settings: SiteSettings,
  customer: string,
  site: string,
  signal: AbortSignal,
): Promise<{ ms: number; attempts: number }> {
  const of = settings.customers.get(customer);
  const target = of?.probes?.targets.get(site);
  const [synthetic] = of?.probes?.accounts.values() ?? [];
  if (!of || !target || !synthetic) throw new Fault('demo: no probes are configured', 'Run the demo again.');
  const limit = AbortSignal.any([signal, AbortSignal.timeout(LIMIT_MS)]);
  const began = performance.now();
  for (let attempts = 1; ; attempts += 1) {
    const { ok, because } = await probeService({
      service: 'remote-access',
      target: { domain: of.domain, ...target },
      accounts: { ...synthetic, first: { ...synthetic.first, user: USER } },
      relay: false,
      partner: null,
      provisioner: null,
      limitMs: ATTEMPT_MS,
      signal: limit,
    });
    if (ok) return { ms: Math.round(performance.now() - began), attempts };
    if (limit.aborted)
      throw new Fault(`demo: a user of the lost half cannot sign in: ${because}`, 'Look at the log of ejabberd.');
    await setTimeout(RETRY_MS, undefined, { signal: limit });
  }
}

/** Of the steps that looked at services by clients. */
export const seenServices = ({ steps }: FailoverReport): SeenService[] =>
  steps.flatMap(({ act, state, facts }) => {
    const service = facts['service'];
    if (act !== 'probe' || typeof service !== 'string') return [];
    const ms = facts['ms'];
    return [{ service, ok: state === 'done', ms: typeof ms === 'number' ? ms : -1 }];
  });
