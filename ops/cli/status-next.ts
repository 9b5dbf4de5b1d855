import type { Misfit, Waiting } from './as-planned.ts';
import { testCommand } from '../../workflows/model/test-due.ts';
import { takeOverCommand } from '../stranded.ts';
import { pickCommand } from './closed-lines.ts';
import { exits } from './print.ts';
import type { HalfStatus } from './status-half.ts';
import type { SiteStatus } from './status.ts';
import { peerNext, type PeerStatus } from './status-peer.ts';
import type { ServiceStatus } from './status-service.ts';
import type { TestsStatus } from './status-test.ts';

/** What an operator who has read the status should do: the most urgent only. */
export interface Next {
  exit: number;
  /** A command; null when there is none. */
  next: string | null;
  /** What is to be waited for instead; null when there is nothing. */
  line: string | null;
  /** What follows the command; left out where one is all. */
  after?: string;
}

const nothing: Next = { exit: exits.done, next: null, line: null };

interface Seen {
  halves: HalfStatus[];
  sites: SiteStatus[];
  services?: (Pick<ServiceStatus, 'site' | 'customer' | 'closed' | 'peer'> & Partial<Pick<ServiceStatus, 'fork'>>)[];
  tests?: Pick<TestsStatus, 'standing' | 'running' | 'at' | 'cohort'>;
  /** Planned moves that wait for signatures nobody should give. */
  misfits?: { waiting: Waiting; misfit: Misfit }[];
}

/** In this order: a failover goes before what is planned, and that before a test. */
export function nextOf(seen: Seen): Next {
  const { halves, sites, services = [], tests } = seen;
  // Before all else: no move goes on, and whoever retries a step of one is refused.
  const forked = services.find(({ fork }) => fork);
  if (forked) return held(pickCommand(forked.customer));
  return (
    moves(sites, 'failover') ??
    closed(services) ??
    lost(seen) ??
    overtaken(tests) ??
    misfit(seen) ??
    moves(sites, 'planned') ??
    damage(halves) ??
    protection(halves, sites) ??
    heldUsers(halves) ??
    askedBy(tests) ??
    overdue(halves, tests) ??
    nothing
  );
}

const held = (next: string): Next => ({ ...nothing, exit: exits.held, next });
const failed = (next: string): Next => ({ ...nothing, exit: exits.failed, next });

/** Moves of a kind that are under way, or stand still. */
function moves(sites: readonly SiteStatus[], kind: 'failover' | 'planned'): Next | null {
  const isMeant = (failover: boolean): boolean => failover === (kind === 'failover');
  for (const { site, stranded } of sites)
    for (const move of stranded)
      if (isMeant(move.workflowId.startsWith('failover/'))) return held(takeOverCommand(move, site));
  const moving = sites.find((s) => s.next !== null && isMeant(s.kind === 'failover'));
  return moving?.next ? { ...nothing, exit: moving.asks ? exits.held : exits.failed, next: moving.next } : null;
}

function closed(services: NonNullable<Seen['services']>): Next | null {
  const one = services.find((s) => s.closed !== null);
  return one ? held(`tandem site status --site ${one.site} --customer ${one.customer}`) : null;
}

/** A site that serves users is gone: by its peer's watch; where nobody watches, by its Temporal service. */
function lost({ halves, sites, services = [] }: Seen): Next | null {
  const [next, after] = peerNext(
    halves,
    services.map(({ peer }) => peer),
  );
  if (next !== undefined) return { ...failed(next), ...(after !== undefined && { after }) };
  const away = silentOne(sites);
  const half = halves.find(({ servedAt }) => servedAt === away);
  if (away === null || !half || services.some(({ peer }) => peer.peer === away && serves(peer))) return null;
  const others = half.half === away ? '' : ` --half ${half.half}`;
  return failed(`tandem failover plan --customer ${half.customer} --from ${away}${others}`);
}

/** The one whose Temporal service is silent: whoever hears neither should look at his own line first. */
function silentOne(sites: readonly SiteStatus[]): string | null {
  const silent = sites.filter((s) => s.temporal === 'silent');
  return silent.length === 1 ? (silent[0]?.site ?? null) : null;
}

/** By the newest look: the verdict follows some looks later. */
const serves = ({ watched, stale }: PeerStatus): boolean =>
  !stale && (watched?.observers.some(({ saw }) => saw === 'serving') ?? false);

function misfit({ misfits = [] }: Seen): Next | null {
  const [first] = misfits;
  return first ? held(first.misfit.next) : null;
}

/** What cannot be trusted of the copies that are there. */
function damage(halves: readonly HalfStatus[]): Next | null {
  const suspect = halves.find((h) => h.suspect);
  const damaged = halves.find((h) => h.checks.some((c) => c.damaged.length > 0));
  const site = suspect?.suspect?.site ?? damaged?.checks.find((c) => c.damaged.length > 0)?.vault;
  const customer = (suspect ?? damaged)?.customer;
  return site === undefined ? null : held(`tandem snapshot list --site ${site} --customer ${customer}`);
}

/** Null when every half is protected, and the part of each site that takes snapshots answers. */
function protection(halves: HalfStatus[], sites: SiteStatus[]): Next | null {
  const open = halves.find((h) => h.state !== 'protected');
  const one = silentOne(sites);
  if (!open) return one !== null && halves.some(({ servedAt }) => servedAt === one) ? failed(doctor(one)) : null;
  const away = sites.find((s) => s.temporal === 'silent')?.site;
  const at = open.servedAt ?? open.half;
  if (away === at) return failed(doctor(away));
  if (away === undefined) return failed(`tandem snapshot now --site ${at} --customer ${open.customer}`);
  const line = `${open.half}: protected again when ${away} is back, and has a snapshot of ${at}.`;
  return { ...nothing, exit: exits.failed, line };
}

const doctor = (site: string): string => `tandem doctor --site ${site}`;

/** Whoever is held where he is served waits for an operator. */
function heldUsers(halves: HalfStatus[]): Next | null {
  const of = halves.flatMap(({ customer, quarantined, servedAt }) =>
    quarantined.map((q) => ({ ...q, customer, now: q.site === servedAt })),
  );
  const first = of.find(({ now }) => now) ?? of[0];
  if (!first) return null;
  const next = `tandem quarantine list --site ${first.site} --customer ${first.customer}`;
  return { ...nothing, exit: first.now ? exits.held : exits.done, next };
}

const nextOfTest = (tests: Seen['tests']): string | null => tests?.running.find((t) => t.next)?.next ?? null;

/** A live test was aborted, and the move that would take its users away goes on: nobody should sign that now. */
function overtaken(tests: Seen['tests']): Next | null {
  const next = nextOfTest(tests);
  return next !== null && / (abort|turn-back) /.test(next) ? held(next) : null;
}

/** What a live test waits for: people who move its users, or a move that says itself what it waits for. */
function askedBy(tests: Seen['tests']): Next | null {
  const next = nextOfTest(tests);
  if (next === null) return null;
  return / watch /.test(next) ? { ...nothing, next } : held(next);
}

/** The last of all: nobody is worse off today because it was not proved yet. */
function overdue(halves: HalfStatus[], tests: Seen['tests']): Next | null {
  const { standing, running = [], at = '', cohort } = tests ?? {};
  if (standing?.state !== 'overdue' && standing?.state !== 'soon') return null;
  const customer = halves[0]?.customer ?? '';
  const next =
    running.length > 0
      ? `tandem test list --customer ${customer}`
      : testCommand(customer, at, standing.counts, cohort ?? undefined);
  return { ...nothing, exit: standing.state === 'overdue' ? exits.held : exits.done, next };
}
