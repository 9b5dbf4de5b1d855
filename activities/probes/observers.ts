import { failureKind, failureText } from '../../workflows/model/failures.ts';
import type { Isolation } from '../../workflows/model/plan.ts';
import type { CustomerSettings, SiteSettings, VaultAccess } from '../settings.ts';
import { BEAT_FRESH_MS, hearBeat, lags, type Beat } from './beats.ts';
import { isServersAnswer, within } from './peer.ts';
import { greetsClients, httpStatus } from './service.ts';

/** What a site is looked at by, each with a limit of its own; a plan asks them once, the watch again and again. */

/** What one observer may take. All look at once, so that a site which swallows every packet costs this much, once. */
export const OBSERVER_LIMIT_MS = 2000;

export type Observer = Isolation['observers'][number];

/** An observer that cannot look: its silence is not the source's. */
export class Blind extends Error {}

/** Why, without what gRPC puts around it: of a service that cannot be reached, its last error is the cause. */
function plainly(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return /Last error: (?:Error: )?(.+?)\. Resolution note:/s.exec(text)?.[1] ?? text;
}

/** What an observer saw, and why it is not sure; null where it is. */
export interface Told {
  observer: Observer;
  because: string | null;
}

/** One look, within OBSERVER_LIMIT_MS. */
export async function look(
  name: string,
  site: string,
  eye: (signal: AbortSignal) => Promise<Observer['saw']>,
  signal?: AbortSignal,
): Promise<Told> {
  try {
    const saw = await within(OBSERVER_LIMIT_MS, `${name} of ${site}`, eye, signal);
    return { observer: { name, saw }, because: null };
  } catch (error) {
    // A refusal is an answer: something is there that could be serving.
    const answered = isServersAnswer(error) || failureKind(error) === 'vault-refused';
    const saw = error instanceof Blind ? 'unknown' : answered ? 'answers' : 'unreachable';
    return { observer: { name, saw }, because: plainly(error) };
  }
}

interface ServiceEye {
  name: 'sign-in' | 'api';
  eye: (signal: AbortSignal) => Promise<Observer['saw']>;
}

/** The client port and the API of a site, where they are named. They show that it is there, not for whom. */
export function serviceEyes(
  { services }: Pick<SiteSettings, 'services'>,
  { domain }: Pick<CustomerSettings, 'domain'>,
  site: string,
): ServiceEye[] {
  const service = services.get(site);
  if (!service) return [];
  const { clients, api } = service;
  const answers = 'answers' as const;
  return [
    { name: 'sign-in', eye: (signal) => greetsClients(clients, domain, signal).then(() => answers) },
    ...(api === null
      ? []
      : [{ name: 'api' as const, eye: (signal: AbortSignal) => httpStatus(api, signal).then(() => answers) }]),
  ];
}

/** What the witness tells of a site: `saw` as an observer of that site, `answers` of the witness itself. */
export interface Beats {
  saw: Observer['saw'];
  because: string;
  answers: boolean;
  beat: Beat | null;
}

/**
 * The observer at neither site: a site that beat there within a minute, by the clock of the witness, is alive, whatever we
 * can reach. A witness that cannot be reached, one that a site never beat in, and one that does not show what this site itself
 * has put there, say nothing.
 */
export async function lookForBeats(
  { site: own, publicKeys }: Pick<SiteSettings, 'site' | 'publicKeys'>,
  access: VaultAccess,
  site: string,
  signal?: AbortSignal,
): Promise<Beats> {
  const nothing = { saw: 'unknown' as const, answers: true, beat: null };
  try {
    const listen = (limit: AbortSignal) => hearBeat(access, site, publicKeys, limit);
    const heard = await within(OBSERVER_LIMIT_MS, 'witness', listen, signal);
    if (heard === null) return { ...nothing, because: `it has never had a beat of ${site}` };
    if (heard === 'unsigned')
      return { ...nothing, because: `what lies there as the beat of ${site} was not signed by it` };
    const { beat } = heard;
    if (heard.ageMs >= BEAT_FRESH_MS) {
      const behind = (limit: AbortSignal): Promise<boolean> => lags(access, own, publicKeys, limit);
      if (await within(OBSERVER_LIMIT_MS, 'witness', behind, signal))
        return {
          ...nothing,
          because: `it shows no beat since ${heard.cameAt}, nor the newest of ${own} itself: it lags`,
        };
    }
    return heard.ageMs < BEAT_FRESH_MS
      ? { saw: 'answers', because: `beat ${beat.sequence} came at ${heard.cameAt}`, answers: true, beat }
      : { saw: 'unreachable', because: `no beat since ${heard.cameAt}`, answers: true, beat };
  } catch (error) {
    signal?.throwIfAborted();
    // What it refuses to this site, it answers.
    const answers = failureKind(error) === 'vault-refused';
    return { ...nothing, because: `cannot be reached: ${failureText(error)}`, answers };
  }
}
