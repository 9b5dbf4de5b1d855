import { performance } from 'node:perf_hooks';
import { Database } from '../activities/contacts/database.ts';
import { within } from '../activities/probes/peer.ts';
import { httpStatus } from '../activities/probes/service.ts';
import type { Seen } from '../activities/probes/watch/seen.ts';
import { sayAlive } from '../activities/services/alive.ts';
import { closeCutOff, closingOf, openWhenConfirmed } from '../activities/services/closed.ts';
import { endForgottenDrains } from '../activities/services/drained.ts';
import { adoptCohorts } from '../activities/services/adopt-cohorts.ts';
import { followPeer } from '../activities/services/gone-to-peer.ts';
import { takeHandedOver } from '../activities/services/handed-over.ts';
import { noteLook } from '../activities/services/looked.ts';
import { endLostHandOvers } from '../activities/services/lost-hand-over.ts';
import { askRights } from '../activities/services/obeyed.ts';
import { askPeerRights } from '../activities/services/peer-rights.ts';
import { adoptHomes } from '../activities/services/rehomed.ts';
import { leadBack } from '../activities/traffic/lead-back.ts';
import type { CustomerSettings, SiteSettings } from '../activities/settings.ts';
import { beginLookout, lookOut, whyCutOff, type Closing, type Lookout } from '../workflows/model/closing.ts';
import { ForkGuard } from './fork-loop.ts';
import type { SiteMetrics } from './metrics.ts';

const LIMITS = { connections: 1, connectMs: 3000, statementMs: 5000 };
const WITNESS_LIMIT_MS = 3000;

/**
 * Keeps a customer's site from serving whom it may have lost: says that it lives, closes it when it was down or is cut off,
 * opens it when the peer confirms it, acts on a fork, takes what the peer has handed over to it, and knows what has gone to the peer.
 */
export class SiteGuard {
  private readonly settings: SiteSettings;
  private readonly customer: CustomerSettings;
  private readonly database: Database;
  private readonly now: () => number;
  private lookout: Lookout;
  private aliveAt: number | null = null;
  private looks: number | null = null;
  private readonly fork: ForkGuard;

  /** `now`: ms of a clock that nobody can set. The look-out begins with the worker: what it saw before, it does not know. */
  constructor(settings: SiteSettings, customer: CustomerSettings, database: Database, now = () => performance.now()) {
    this.settings = settings;
    this.customer = customer;
    this.database = database;
    this.now = now;
    this.fork = new ForkGuard(settings, customer, database);
    this.lookout = beginLookout(now());
  }

  /** Answers the closing, when the site has just been found to have been down. */
  async alive(signal?: AbortSignal): Promise<Closing | null> {
    const began = this.now();
    const ranMs = this.aliveAt === null ? null : began - this.aliveAt;
    const closing = await sayAlive(this.settings, this.customer, this.database, { ranMs, ...(signal && { signal }) });
    this.aliveAt = began;
    if (closing) await this.tellService(signal);
    return closing;
  }

  /** What one round of the watch saw; answers what has changed by it, for people. */
  async round(seen: Seen, signal?: AbortSignal): Promise<string[]> {
    const { id, selfFenceMs } = this.customer;
    // What would tell of a newer epoch: whatever else answers of the peer may be all that this site can reach of it.
    const saw = seen.peer.tells || seen.witness === 'answers' || (await this.witnessUrlAnswers(signal));
    this.lookout = lookOut(this.lookout, this.now(), saw);
    const { looks, closing: late } = await noteLook(this.database, id, { saw, selfFenceMs });
    // Of several workers one may be cut off alone: the site is not.
    if (this.looks !== null && looks !== this.looks) this.lookout = beginLookout(this.now());
    this.looks = looks;
    const because = selfFenceMs === undefined ? null : whyCutOff(this.lookout, this.now(), selfFenceMs);
    const closing = late ?? (because === null ? null : await closeCutOff(this.database, id, because));
    if (closing) {
      await this.tellService(signal);
      return [`${id}: CLOSED: ${closing.because}; it opens when the peer confirms it`];
    }
    const forked = await this.fork.act(seen, signal);
    // Before a drain is undone: the peer may have been given what is drained, and this database may have lost that.
    const taken = await this.takeOver(seen, signal);
    const freed = (await endForgottenDrains(this.database, id)).map(
      (half) => `${id}: serves ${half} again: the move that drained it has ended without handing it over`,
    );
    const led = await leadBack(this.settings, this.customer, this.database);
    const lines = [...forked, ...taken, ...freed, ...(await this.open(signal)), ...led];
    if (lines.length > 0) await this.tellService(signal);
    return lines;
  }

  private async takeOver({ peer: { rows, epoch } }: Seen, signal: AbortSignal | undefined): Promise<string[]> {
    if (!rows || !epoch) return [];
    const { id } = this.customer;
    const told = { epoch, halves: rows };
    const lost = await endLostHandOvers(this.database, this.customer, told, signal);
    const homes = await adoptHomes(this.database, this.customer, signal);
    const learnt = await adoptCohorts(this.database, this.customer, told, signal);
    const taken = await takeHandedOver(this.database, this.customer, told, signal);
    const gone = await followPeer(this.database, this.customer, told);
    return [
      ...lost.map(
        (half) =>
          `${id}: SERVED TWICE: this site had handed ${half} over under epoch ${epoch.number}, and its database has lost that: it has let go of it; what was changed here since is salvaged`,
      ),
      ...(homes?.servedTwice === true
        ? [`${id}: SERVED TWICE: ${homes.left ?? ''}`]
        : homes !== null && homes.users > 0
          ? [`${id}: ${homes.users} users have the home that they have at its peer`]
          : []),
      ...learnt.map((home) => `${id}: knows the cohorts of ${home} as its peer does`),
      ...taken.map((half) => `${id}: takes ${half} over, which its peer has given to it under epoch ${epoch.number}`),
      ...gone.map((half) => `${id}: its peer serves ${half} under epoch ${epoch.number}: this site is their copy now`),
    ];
  }

  /** The peer is asked anew, and whether it is the peer at all: what opens a site is worth a second look. */
  private async open(signal: AbortSignal | undefined): Promise<string[]> {
    const { id } = this.customer;
    if (!(await closingOf(this.database, id))) return [];
    const opening = await openWhenConfirmed(
      this.database,
      id,
      await askPeerRights(this.customer, this.database, signal),
    );
    if (!opening?.open) return [];
    return [`${id}: opened: ${opening.because}; it was closed since ${opening.closing.since}`];
  }

  /** A witness that is looked at only: asked when nothing else was seen, and it decides. */
  private async witnessUrlAnswers(signal: AbortSignal | undefined): Promise<boolean> {
    const { witnessUrl } = this.settings;
    if (witnessUrl === undefined || this.customer.selfFenceMs === undefined) return false;
    try {
      const status = await within(WITNESS_LIMIT_MS, 'witness', (limit) => httpStatus(witnessUrl, limit), signal);
      return status >= 200 && status < 300;
    } catch {
      signal?.throwIfAborted();
      return false;
    }
  }

  /** It reads that by itself within seconds; asked, at once. */
  private async tellService(signal?: AbortSignal): Promise<void> {
    await askRights(this.settings, this.customer, this.settings.site, signal);
  }
}

interface Guarded {
  guard: SiteGuard;
  database: Database;
}

/** The guards of all customers of this site, in the worker's process. */
export class SiteGuards {
  private readonly settings: SiteSettings;
  private readonly metrics: SiteMetrics;
  private readonly say: (line: string) => void;
  private readonly guarded: ReadonlyMap<string, Guarded>;

  constructor(settings: SiteSettings, metrics: SiteMetrics, say: (line: string) => void) {
    this.settings = settings;
    this.metrics = metrics;
    this.say = say;
    this.guarded = new Map(
      [...settings.customers.values()].map((customer) => {
        const database = new Database(`database of ${customer.id} at ${settings.site}`, customer.databaseUrl, LIMITS);
        return [customer.id, { database, guard: new SiteGuard(settings, customer, database) }];
      }),
    );
  }

  /**
   * Decides by what a round of the watch has seen; says first that this site lives, so that it is closed before anything else when
   * it was down. Nothing while its own database is away, or is not prepared: it serves nobody then.
   */
  async decide(customer: string, seen: Seen, signal?: AbortSignal): Promise<void> {
    const one = this.guarded.get(customer);
    if (!one || seen.own.epoch === null) return;
    const down = await one.guard.alive(signal);
    if (down) this.say(`${customer}: CLOSED: ${down.because}; it opens when its peer confirms it`);
    for (const line of await one.guard.round(seen, signal)) this.say(line);
    this.metrics.closed(customer, this.settings.site, (await closingOf(one.database, customer))?.kind ?? null);
  }

  async close(): Promise<void> {
    await Promise.all([...this.guarded.values()].map(({ database }) => database.close()));
  }
}
