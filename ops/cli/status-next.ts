import { LIVE_BY_HAND } from '../../workflows/model/test-due.ts';
import { takeOverCommand } from '../stranded.ts';
import { pickCommand } from './closed-lines.ts';
import { exits } from './print.ts';
import type { HalfStatus } from './status-half.ts';
import type { SiteStatus } from './status.ts';
import { peerNext } from './status-peer.ts';
import type { ServiceStatus } from './status-service.ts';
import type { TestsStatus } from './status-test.ts';

/** What an operator who has read the status should do: the most urgent only. */
export interface Next {
  exit: number;
  /** A command; null when there is none. */
  next: string | null;
  /** What is to be waited for instead; null when there is nothing. */
  line: string | null;
}

const nothing: Next = { exit: exits.done, next: null, line: null };

interface Seen {
  halves: HalfStatus[];
  sites: SiteStatus[];
  services?: (Pick<ServiceStatus, 'site' | 'customer' | 'closed' | 'peer'> & Partial<Pick<ServiceStatus, 'fork'>>)[];
  tests?: Pick<TestsStatus, 'standing' | 'running' | 'at'>;
}

export function nextOf({ halves, sites, services = [], tests }: Seen): Next {
  // Before all else: no move goes on, and whoever retries a step of one is refused.
  const forked = services.find(({ fork }) => fork);
  if (forked) return { ...nothing, exit: exits.held, next: pickCommand(forked.customer) };
  const stranded = sites.flatMap((s) => s.stranded)[0];
  if (stranded) return { ...nothing, exit: exits.held, next: takeOverCommand(stranded) };
  const moving = sites.find((s) => s.next !== null);
  if (moving) return { ...nothing, exit: moving.asks ? exits.held : exits.failed, next: moving.next };
  const closed = services.find((s) => s.closed !== null);
  if (closed) {
    const next = `tandem site status --site ${closed.site} --customer ${closed.customer}`;
    return { ...nothing, exit: exits.held, next };
  }
  const lost = peerNext(
    halves,
    services.map(({ peer }) => peer),
  );
  if (lost !== null) return { ...nothing, exit: exits.failed, next: lost };
  const suspect = halves.find((h) => h.suspect)?.suspect?.site;
  const damaged = halves.flatMap((h) => h.checks).find((c) => c.damaged.length > 0)?.vault;
  const look = suspect ?? damaged;
  if (look !== undefined) return { ...nothing, exit: exits.held, next: `tandem snapshot list --site ${look}` };
  return protection(halves, sites) ?? heldUsers(halves) ?? overdue(halves, tests) ?? nothing;
}

/** Null when every half is protected, and where it is served somebody answers. */
function protection(halves: HalfStatus[], sites: SiteStatus[]): Next | null {
  const silent = sites.filter((s) => s.temporal === 'silent').map(({ site }) => site);
  const [away] = silent;
  // Whoever hears neither site should look at his own line first.
  const lost = silent.length === 1 ? halves.find(({ servedAt }) => servedAt === away) : undefined;
  if (lost) {
    const others = lost.half === away ? '' : ` --half ${lost.half}`;
    const plan = `tandem failover plan --customer ${lost.customer} --from ${away}${others}`;
    return { ...nothing, exit: exits.failed, next: plan };
  }
  const open = halves.find((h) => h.state !== 'protected');
  if (!open) return null;
  const at = open.servedAt ?? open.half;
  if (away === undefined) return { ...nothing, exit: exits.failed, next: `tandem snapshot now --site ${at}` };
  const line = `${open.half}: protected again when ${away} is back, and has a snapshot of ${at}.`;
  return { ...nothing, exit: exits.failed, line };
}

/** Whoever is held where he is served waits for an operator. */
function heldUsers(halves: HalfStatus[]): Next | null {
  const held = halves.flatMap(({ quarantined, servedAt }) =>
    quarantined.map((q) => ({ ...q, now: q.site === servedAt })),
  );
  const first = held.find(({ now }) => now) ?? held[0];
  if (!first) return null;
  return { ...nothing, exit: first.now ? exits.held : exits.done, next: `tandem quarantine list --site ${first.site}` };
}

/** The last of all: nobody is worse off today because it was not proved yet. */
function overdue(halves: HalfStatus[], tests: Seen['tests']): Next | null {
  if (tests?.standing?.state !== 'overdue') return null;
  if (tests.standing.counts === 'live') return { ...nothing, exit: exits.held, line: `${LIVE_BY_HAND}.` };
  const about = `--customer ${halves[0]?.customer ?? ''}`;
  const next = tests.running.length > 0 ? `tandem test list ${about}` : `tandem test start ${about} --site ${tests.at}`;
  return { ...nothing, exit: exits.held, next };
}
