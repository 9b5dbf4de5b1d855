import { failureKind, failureText } from '../../workflows/model/failures.ts';
import type { Epoch } from '../../workflows/model/epoch.ts';
import type { Isolation, Undelivered } from '../../workflows/model/plan.ts';
import { verdictOf, WITNESS_OBSERVER } from '../../workflows/model/verdict.ts';
import type { CustomerSettings, SiteSettings, VaultAccess } from '../settings.ts';
import { readClaims } from '../vault/epochs.ts';
import { BEAT_FRESH_MS, hearBeat, type Beat } from './beats.ts';
import { isServersAnswer, peerQuery, withPeerVault, within } from './peer.ts';
import { peerTemporal } from './peer-temporal.ts';
import { greetsClients, httpStatus } from './service.ts';

/** An observer that cannot look: its silence is not the source's. */
class Blind extends Error {}

/** What one observer may take. All look at once, so that a site which swallows every packet costs this much, once. */
export const OBSERVER_LIMIT_MS = 2000;

type Observer = Isolation['observers'][number];

export interface Observation {
  verdict: Isolation['verdict'];
  observers: Observer[];
  /** Why each observer that is not sure is not; for people, never part of a decision. */
  because: Record<string, string>;
  /** The newest epoch that the source's database holds; null when it did not say. */
  epoch: Epoch | null;
  /** The highest number that is taken in the source's vault; 0 when it did not say. */
  claimed: number;
  /** What waits at the source for users who are away, as its last beat told it; null when none did. */
  undelivered: Undelivered | null;
}

interface ObservedRow {
  half: string;
  newest: string;
  claimed_by: string;
  move: string;
  open: boolean;
}

/** Why, without what gRPC puts around it: of a service that cannot be reached, its last error is the cause. */
function plainly(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return /Last error: (?:Error: )?(.+?)\. Resolution note:/s.exec(text)?.[1] ?? text;
}

/**
 * Looks at a site through its database, vault and Temporal service, its client port and API where they are named, and by
 * its beats in the witness, all at once, read-only, within OBSERVER_LIMIT_MS. *serving* when one of them saw it serve users
 * of the customer, whichever half.
 */
export async function observeSource(
  settings: SiteSettings,
  customer: CustomerSettings,
  signal?: AbortSignal,
): Promise<Observation> {
  const because: Record<string, string> = {};
  let epoch: Epoch | null = null;
  let claimed = 0;
  let undelivered: Undelivered | null = null;
  const observe = async (name: string, look: (signal: AbortSignal) => Promise<Observer['saw']>): Promise<Observer> => {
    try {
      return { name, saw: await within(OBSERVER_LIMIT_MS, `${name} of ${customer.peer}`, look, signal) };
    } catch (error) {
      because[name] = plainly(error);
      // A refusal is an answer: something is there that could be serving.
      const answered = isServersAnswer(error) || failureKind(error) === 'vault-refused';
      return { name, saw: error instanceof Blind ? 'unknown' : answered ? 'answers' : 'unreachable' };
    }
  };
  const heard = (beat: Beat): void => {
    undelivered = beat.undelivered?.[customer.id] ?? null;
  };
  const observers = await Promise.all([
    observe('database', async (limit) => {
      const rows = await observedRows(customer, limit);
      const [newest] = rows;
      if (newest) epoch = { number: Number(newest.newest), site: newest.claimed_by, move: newest.move };
      return rows.some((r) => r.open) ? 'serving' : 'closed';
    }),
    observe('vault', async (limit) => {
      claimed = await highestClaimed(settings, customer, limit);
      return 'answers';
    }),
    observe('temporal', async () => {
      const temporal = settings.peerTemporals.get(customer.peer);
      if (!temporal) throw new Blind('no address is configured');
      await peerTemporal(temporal, OBSERVER_LIMIT_MS);
      return 'answers';
    }),
    ...serviceObservers(settings, customer).map(({ name, look }) => observe(name, look)),
    ...(settings.witness ? [observeBeats(settings, settings.witness, customer.peer, { because, heard }, signal)] : []),
  ]);
  return { verdict: verdictOf(observers), observers, because, epoch, claimed, undelivered };
}

interface Look {
  name: string;
  look: (signal: AbortSignal) => Promise<Observer['saw']>;
}

/** The client port and the API of a site, where they are named. They show that it is there, not for whom. */
function serviceObservers({ services }: SiteSettings, { peer, domain }: CustomerSettings): Look[] {
  const service = services.get(peer);
  if (!service) return [];
  const { clients, api } = service;
  const answers = 'answers' as const;
  return [
    { name: 'sign-in', look: (signal) => greetsClients(clients, domain, signal).then(() => answers) },
    ...(api === null
      ? []
      : [{ name: 'api', look: (signal: AbortSignal) => httpStatus(api, signal).then(() => answers) }]),
  ];
}

/**
 * The observer at neither site: a site that beat there within a minute, by the clock of the witness, is alive, whatever we
 * can reach. A witness that cannot be reached, and one that a site never beat in, say nothing.
 */
async function observeBeats(
  { publicKeys }: SiteSettings,
  access: VaultAccess,
  peer: string,
  { because, heard: tell }: { because: Record<string, string>; heard: (beat: Beat) => void },
  signal: AbortSignal | undefined,
): Promise<Observer> {
  const told = (saw: Observer['saw'], why: string): Observer => {
    because[WITNESS_OBSERVER] = why;
    return { name: WITNESS_OBSERVER, saw };
  };
  try {
    const listen = (limit: AbortSignal) => hearBeat(access, peer, publicKeys, limit);
    const heard = await within(OBSERVER_LIMIT_MS, 'witness', listen, signal);
    if (heard === null) return told('unknown', `it has never had a beat of ${peer}`);
    if (heard === 'unsigned') return told('unknown', `what lies there as the beat of ${peer} was not signed by it`);
    tell(heard.beat);
    return heard.ageMs < BEAT_FRESH_MS
      ? told('answers', `beat ${heard.beat.sequence} came at ${heard.cameAt}`)
      : told('unreachable', `no beat since ${heard.cameAt}`);
  } catch (error) {
    signal?.throwIfAborted();
    return told('unknown', `cannot be reached: ${failureText(error)}`);
  }
}

async function observedRows(customer: CustomerSettings, signal: AbortSignal): Promise<ObservedRow[]> {
  const sql = 'select customer, half, newest::text, claimed_by, move, open from tandem.observe()';
  const rows = await peerQuery<ObservedRow & { customer: string }>(
    customer.peerDatabaseUrl,
    OBSERVER_LIMIT_MS,
    sql,
    [],
    signal,
  );
  const own = rows.filter((r) => r.customer === customer.id);
  if (rows.length > 0 && own.length === 0) {
    // Nobody is closed because somebody else's database says nothing of him.
    throw Object.assign(new Error('the database is that of another customer'), { code: '42501' });
  }
  return own;
}

async function highestClaimed(
  settings: SiteSettings,
  customer: CustomerSettings,
  signal: AbortSignal,
): Promise<number> {
  const access = settings.peerVaults.get(customer.peer);
  if (!access) throw new Blind('no credentials are configured');
  const { publicKeys } = settings;
  const { newest } = await withPeerVault(access, (vault) => readClaims(vault, customer.id, { publicKeys, signal }));
  return newest?.number ?? 0;
}
