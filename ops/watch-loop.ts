import { Database } from '../activities/contacts/database.ts';
import { Eyes, type CustomerEyes } from '../activities/probes/watch/eyes.ts';
import { lookAround, type Round } from '../activities/probes/watch/look.ts';
import type { Manner } from '../activities/probes/watch/look-at-peer.ts';
import type { Seen } from '../activities/probes/watch/seen.ts';
import { resumeWatch, writeWatched } from '../activities/probes/watch/stored.ts';
import type { Watchers } from '../activities/probes/watch/watchers.ts';
import { closeService, takeOver, toldObeyed } from '../activities/services/obey.ts';
import type { CustomerSettings, SiteSettings } from '../activities/settings.ts';
import type { Epoch } from '../workflows/model/epoch.ts';
import { failureText } from '../workflows/model/failures.ts';
import { healthy, nursed, unwatched, watched, type Health, type Watch } from '../workflows/model/watch.ts';
import type { TestStanding } from '../workflows/model/test-due.ts';
import { newsOf, type Standing } from '../workflows/model/watch-news.ts';
import type { SiteMetrics } from './metrics.ts';
import { pause } from './temporal.ts';

const EVERY_MS = 10_000;
/** So often it is written that somebody watches, also when nothing has changed. */
const WRITTEN_EVERY_MS = 60_000;
/** Few statements, in one transaction; a move that holds the epoch's row is waited for at the next round. */
const LIMITS = { connections: 1, connectMs: 3000, statementMs: 5000 };
const RESUME_MS = 2000;

export interface Watching {
  settings: SiteSettings;
  metrics: SiteMetrics;
  watchers: Watchers;
  signal: AbortSignal;
  say: (line: string) => void;
  /** What each round has seen, once this site has obeyed what it read: others decide by it whether to close or to open. */
  onRound?: (customer: string, seen: Seen) => Promise<void>;
  /** How each customer's yearly test stands, as another loop knows it. */
  tests?: ReadonlyMap<string, TestStanding>;
  /** From the start of one round to that of the next; ten seconds when it is left out. */
  everyMs?: number;
}

/**
 * Looks at the peer of each customer and at this site every ten seconds, while the worker lives, and obeys a newer epoch of
 * the peer at once: a site whose database comes back after a failover may find its own rows as they were, with a worker that was
 * never gone. It needs no Temporal service. What cannot be read is no reason to close; it is read again. Each customer has a
 * loop of its own: a peer that hangs delays nobody else.
 */
export async function watchSites(watching: Watching): Promise<void> {
  const eyes = new Eyes(watching.settings, watching.everyMs ?? EVERY_MS);
  // Before the last round has ended: whoever waits for its news holds up the worker that is told to end.
  watching.signal.addEventListener('abort', () => watching.watchers.end(), { once: true });
  try {
    await Promise.all([...watching.settings.customers.values()].map((one) => watchCustomer(watching, eyes, one)));
  } finally {
    watching.watchers.end();
    eyes.close();
  }
}

async function watchCustomer(watching: Watching, eyes: Eyes, customer: CustomerSettings): Promise<void> {
  const { signal, everyMs = EVERY_MS } = watching;
  const one = new CustomerWatch(watching, eyes, customer);
  try {
    while (!signal.aborted) {
      const next = performance.now() + everyMs;
      await one.go();
      await pause(Math.max(0, next - performance.now()), signal);
    }
  } finally {
    await one.close();
  }
}

/** The watch of one customer, as it goes from round to round. */
class CustomerWatch {
  private readonly watching: Watching;
  private readonly eyes: Eyes;
  private readonly own: CustomerEyes;
  private readonly database: Database;
  private watch: Watch | null = null;
  private health: Record<string, Health> = {};
  private manner: Manner = { least: 0, spared: null };
  private written = { text: '', at: -Infinity };
  private complained = new Set<string>();
  private complaints = new Set<string>();

  constructor(watching: Watching, eyes: Eyes, customer: CustomerSettings) {
    const { site } = watching.settings;
    this.watching = watching;
    this.eyes = eyes;
    this.own = eyes.of(customer);
    this.database = new Database(`database of ${customer.id} at ${site}`, customer.databaseUrl, LIMITS);
  }

  /** One round; what goes wrong in it is said, and never ends the watch. */
  async go(): Promise<void> {
    this.complaints = new Set();
    await this.round().catch((error: unknown) => this.complain(error));
    this.complained = this.complaints;
  }

  private async round(): Promise<void> {
    const { metrics, watchers, onRound, signal } = this.watching;
    const { id } = this.own.customer;
    const start = performance.now();
    const round = await lookAround(this.eyes, this.own, this.manner, signal);
    // First of all: until then two sites may serve the same users.
    await this.obey(round).catch((error: unknown) => this.complain(error));
    this.manner = mannerAfter(round, this.manner);
    this.watch = watched(this.watch ?? (await this.before()), {
      at: new Date().toISOString(),
      verdict: round.seen.peer.verdict,
      clients: round.peer.clients,
    });
    this.nurse(round);
    const standing = this.standing(round, this.watch);
    watchers.tell(id, newsOf(standing));
    metrics.watched(standing, (performance.now() - start) / 1000);
    await this.write(standing, round).catch((error: unknown) => this.complain(error));
    await onRound?.(id, round.seen);
  }

  /** Said once, until a round goes by without it. */
  complain(error: unknown): void {
    if (this.watching.signal.aborted) return;
    const text = isUnprepared(error) ? 'its database is not prepared yet' : failureText(error);
    this.complaints.add(text);
    if (!this.complained.has(text)) this.watching.say(`${this.own.customer.id}: the watch is not whole: ${text}`);
    this.complained.add(text);
  }

  async close(): Promise<void> {
    await this.database.close();
  }

  /** Raises this site's epoch to a newer claim of the peer; has the service end its sessions, until that was seen. */
  private async obey({ claim, self }: Round): Promise<void> {
    const { settings, signal, say } = this.watching;
    const { customer } = this.own;
    const taken =
      claim && isNewer(claim, self)
        ? await takeOver(this.database, { customer: customer.id, site: settings.site }, claim)
        : null;
    if (taken) say(`${customer.id}: ${toldObeyed(taken)}`);
    // Its service reads that by itself within seconds; asked, at once.
    if (taken || (self.closedBy !== null && self.closedBy.serviceClosedAt === null))
      await closeService(settings, customer, this.database, signal);
  }

  private async before(): Promise<Watch> {
    const { id, peer } = this.own.customer;
    try {
      return await resumeWatch(this.own.own, id, peer, AbortSignal.timeout(RESUME_MS));
    } catch {
      return unwatched; // It is silent: what it knew is not waited for.
    }
  }

  private nurse({ self, zoneAhead, seen }: Round): void {
    const at = new Date().toISOString();
    const parts: [string, string | null][] = [['database', self.failed.database]];
    if (seen.own.clients !== 'none') parts.push(['client port', self.failed['client port']]);
    if (self.epoch) parts.push(['hand-over', self.lostHandOver]);
    // What the zone is ahead of is known by this site's own database only.
    if (this.own.customer.dns && self.epoch) parts.push(['zone', zoneAhead]);
    for (const [part, failed] of parts) this.health[part] = nursed(this.health[part] ?? healthy, failed, at);
  }

  private standing({ observers, because, self, fork }: Round, watch: Watch): Standing {
    const { id: customer, peer } = this.own.customer;
    const { site } = this.watching.settings;
    const { closedBy } = self;
    const { health } = this;
    const test = this.watching.tests?.get(customer);
    const seen = {
      customer,
      site,
      peer,
      watch,
      observers,
      because,
      peerServes: !self.servesAll,
      peerHalves: self.ofPeer,
      health,
      closedBy,
      fork,
    };
    return test ? { ...seen, test } : seen;
  }

  /** In this site's own database, on a change and each minute. */
  private async write({ customer, site, peer, watch, because }: Standing, { observers }: Round): Promise<void> {
    const { settled, since, silentSince } = watch;
    const text = JSON.stringify([settled, since, silentSince, observers]);
    const now = performance.now();
    if (text === this.written.text && now - this.written.at < WRITTEN_EVERY_MS - EVERY_MS / 2) return;
    const told = observers.map((one) => ({
      ...one,
      ...(because[one.name] !== undefined && { because: because[one.name] }),
    }));
    await writeWatched(this.own.own, { customer, site, peer }, watch, told, AbortSignal.timeout(RESUME_MS));
    this.written = { text, at: now };
  }
}

const isNewer = (claim: Epoch, { epoch }: Round['self']): boolean => epoch !== null && claim.number > epoch.number;

/** Buckets are read every other time while the peer's database says itself that nothing is new; else each time. */
function mannerAfter({ seen, peer, self, claim, zoneAhead }: Round, { spared }: Manner): Manner {
  const same = seen.peer.epoch !== null && self.epoch !== null && seen.peer.epoch.number === self.epoch.number;
  const quiet = same && zoneAhead === null && !(claim && isNewer(claim, self));
  return { least: self.epoch?.number ?? 0, spared: quiet && spared === null ? peer.vault : null };
}

/** At the first start of a site its worker looks around before the schema is there. */
const isUnprepared = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === '42P01';
