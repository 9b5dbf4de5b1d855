import { observeSource } from '../../activities/probes/source.ts';
import type { Isolation } from '../../workflows/model/plan.ts';
import { moveCommand, type FailoverStatus, type MoveName, type MoveWorkflow } from '../../workflows/model/moves.ts';
import { endPhases } from '../../workflows/model/phases.ts';
import { nextCommand } from '../../workflows/model/watch-news.ts';
import type { Configuration, CustomerConfiguration } from '../config/configuration.ts';
import { sitesToAsk } from '../config/here.ts';
import { Fault } from '../fault.ts';
import { moveHandle } from '../moves.ts';
import { connectClient } from '../temporal.ts';
import { newestRow, servingRows, type ServingRow } from './serving-rows.ts';
import { siteOf } from './site.ts';

/**
 * Whether a planned move that waits for signatures still fits the world. Its plan was made when it was asked for, perhaps days
 * ago, and its own steps look again only once it is signed: whoever is to sign is told before.
 */

/** A planned move that people are asked to sign. */
export interface Waiting {
  kind: Exclude<MoveName, 'failover'>;
  customer: string;
  /** The home of its users; where they are, and where they are to be. */
  half: string;
  from: string;
  to: string;
}

/** Null for a failover, and for what asks nobody to sign. */
export function waitingOf({ kind, customer, half = '', from, to, phase }: FailoverStatus): Waiting | null {
  if (kind === undefined || kind === 'failover' || phase !== 'approving' || to === null) return null;
  return { kind, customer, half, from, to };
}

/** What was seen of the site to which they are to move. */
export interface SeenPeer {
  peer: string;
  verdict: Isolation['verdict'] | null;
  /** ISO 8601; null where it was looked at only once. */
  since: string | null;
  observers: Isolation['observers'];
  /** One look of just now, by which a plan would be made: whatever part is silent stands against it. Else what a watch has settled. */
  fresh?: boolean;
}

export interface World {
  serving: readonly ServingRow[];
  peers: readonly SeenPeer[];
  /** Moves that are live at the other site. */
  others: readonly string[];
}

export interface Misfit {
  because: string;
  /** The command that is right instead of a signature. */
  next: string;
}

/** Why nobody should sign it; null while nothing that was seen speaks against it. */
export function misfitOf(waiting: Waiting, { serving, peers, others }: World): Misfit | null {
  const { customer, half, from, to } = waiting;
  const abort = `${moveCommand(waiting, 'abort')} --operator ID --key FILE --because TEXT`;
  const row = newestRow(serving, half);
  if (row && row.site !== from)
    return { because: `users of ${half} are served at ${row.site} by now, under epoch ${row.epoch}`, next: abort };
  const seen = peers.find(({ peer }) => peer === to);
  if (seen && isGone(seen)) {
    const since = seen.since === null ? '' : `, since ${seen.since}`;
    const because = `${to} ${seen.verdict === 'dead' ? 'is DEAD' : 'answers nobody'}${since}`;
    return { because, next: takeOver(customer, serving, seen) ?? abort };
  }
  const silent = seen?.fresh ? seen.observers.filter(({ saw }) => saw === 'unreachable') : [];
  if (silent.length > 0)
    return {
      because: `of ${to} these do not answer: ${silent.map(({ name }) => name).join(', ')}`,
      next: `tandem status --customer ${customer}`,
    };
  const [other] = others;
  return other === undefined
    ? null
    : { because: `at ${to} ${other} is live, too: end one of the two first`, next: abort };
}

/** Nothing of it answers. A site that came back answers, and serves nobody yet. */
const isGone = ({ verdict, observers }: SeenPeer): boolean =>
  verdict === 'dead' ||
  (verdict === 'unknown' &&
    observers.some(({ saw }) => saw === 'unreachable') &&
    !observers.some(({ saw }) => saw === 'answers' || saw === 'closed' || saw === 'serving'));

/** Whom it served, somebody has to take over; null when that is nobody. */
function takeOver(customer: string, serving: readonly ServingRow[], seen: SeenPeer): string | null {
  const { peer, verdict, since, observers } = seen;
  const halves = [...new Set(serving.map(({ half }) => half))];
  const [half] = halves.filter((h) => newestRow(serving, h)?.site === peer).toSorted((a) => (a === peer ? -1 : 1));
  if (half === undefined) return null;
  const watch = { settled: verdict, since, silentSince: null };
  return nextCommand({ customer, peer, watch, observers, peerServes: true, half });
}

/** Looks from this machine, as far as it may: what it has no secrets for, or what is silent, says nothing. */
async function lookAgain(
  configuration: Configuration,
  customer: CustomerConfiguration,
  waiting: Waiting,
  signal: AbortSignal,
): Promise<Misfit | null> {
  const from = await sitesToAsk(configuration, customer.sites);
  const [rows, seen, others] = await Promise.all([
    Promise.allSettled(from.map((site) => servingRows(configuration, customer, site))),
    observed(configuration, waiting, signal).catch(() => []),
    liveMoves(configuration, customer.id, waiting.to),
  ]);
  const serving = rows.flatMap((r) => (r.status === 'fulfilled' ? r.value.filter(({ open }) => open) : []));
  return misfitOf(waiting, { serving, peers: seen, others });
}

/** One fresh look at the destination, by the observers of a plan. */
async function observed(
  configuration: Configuration,
  { customer, from, to }: Waiting,
  signal: AbortSignal,
): Promise<SeenPeer[]> {
  const settings = await siteOf(configuration, from).settings();
  const own = settings.customers.get(customer);
  if (!own) return [];
  const { verdict, observers } = await observeSource(settings, own, signal);
  return [{ peer: to, verdict, since: null, observers, fresh: true }];
}

const PEER_LIMIT_MS = 3000;

/** What is live of a customer at a site, in words; nothing when its Temporal service does not answer. */
export async function liveMoves(configuration: Configuration, customer: string, site: string): Promise<string[]> {
  const { temporal } = configuration.sites.get(site) ?? {};
  if (!temporal) return [];
  const client = await connectClient(temporal, PEER_LIMIT_MS).catch(() => null);
  if (!client) return [];
  try {
    const found = await Promise.all(
      (['failover', 'relocate'] as const).map((workflow) => liveAs(moveHandle(client, workflow, customer), workflow)),
    );
    return found.flat();
  } finally {
    await client.connection.close();
  }
}

async function liveAs(handle: ReturnType<typeof moveHandle>, workflow: MoveWorkflow): Promise<string[]> {
  const run = await handle.describe().catch(() => null); // None was ever started there.
  if (run?.status.name !== 'RUNNING') return [];
  const s = await handle.query<FailoverStatus>('status').catch(() => null);
  if (!s) return [`a ${workflow}`];
  if (endPhases.includes(s.phase)) return [];
  return [s.kind ? `a ${s.kind} of users of ${s.half} from ${s.from} to ${s.to}` : `a failover from ${s.from}`];
}

/** Of a move that waits for signatures; null of any other. */
export async function misfitNow(
  configuration: Configuration,
  customer: CustomerConfiguration,
  status: FailoverStatus,
  signal: AbortSignal,
): Promise<Misfit | null> {
  const waiting = waitingOf(status);
  return waiting && lookAgain(configuration, customer, waiting, signal);
}

/** For a screen that shows the plan. */
export const misfitLines = (misfit: Misfit | null): string[] =>
  misfit ? [`NOT TO BE SIGNED: the world is another one than that of its plan: ${misfit.because}.`] : [];

/** Before a signature is asked for, or given. */
export async function requireFit(
  configuration: Configuration,
  customer: CustomerConfiguration,
  status: FailoverStatus,
  signal: AbortSignal,
): Promise<void> {
  const misfit = await misfitNow(configuration, customer, status, signal);
  if (misfit)
    throw new Fault(
      `${status.kind} of ${customer.id}: not to be signed, the world is another one than that of its plan: ${misfit.because}`,
      `\`${misfit.next}\`.`,
    );
}
