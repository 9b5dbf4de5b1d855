import { performance } from 'node:perf_hooks';
import { Database } from '../activities/contacts/database.ts';
import { hearBeat } from '../activities/probes/beats.ts';
import { within } from '../activities/probes/peer.ts';
import { httpStatus } from '../activities/probes/service.ts';
import { observeSource } from '../activities/probes/source.ts';
import { ALIVE_EVERY_MS, sayAlive } from '../activities/services/alive.ts';
import { closeCutOff, closingOf, noteLook, openWhenConfirmed } from '../activities/services/closed.ts';
import { askRights } from '../activities/services/obeyed.ts';
import { askPeerRights } from '../activities/services/peer-rights.ts';
import type { CustomerSettings, SiteSettings } from '../activities/settings.ts';
import { beginLookout, lookOut, whyCutOff, type Closing, type Lookout } from '../workflows/model/closing.ts';
import { failureText } from '../workflows/model/failures.ts';
import type { PeerRights } from '../workflows/model/opening.ts';
import { WITNESS_OBSERVER } from '../workflows/model/verdict.ts';
import type { SiteMetrics } from './metrics.ts';
import { pause } from './temporal.ts';

const LIMITS = { connections: 1, connectMs: 3000, statementMs: 5000 };
const WITNESS_LIMIT_MS = 3000;

/** What one look came to. */
export interface Seen {
  rights: PeerRights;
  /** Any observer of the peer answered. */
  peer: boolean;
  witness: boolean;
}

/**
 * Keeps a customer's site from serving whom it may have lost: says that it lives, closes it when it was down or is cut off,
 * and opens it when the peer confirms it. One round follows one look.
 */
export class SiteGuard {
  private readonly settings: SiteSettings;
  private readonly customer: CustomerSettings;
  private readonly database: Database;
  private readonly now: () => number;
  private lookout: Lookout;
  private aliveAt: number | null = null;
  private looks: number | null = null;

  /** `now`: ms of a clock that nobody can set. The look-out begins with the worker: what it saw before, it does not know. */
  constructor(settings: SiteSettings, customer: CustomerSettings, database: Database, now = () => performance.now()) {
    this.settings = settings;
    this.customer = customer;
    this.database = database;
    this.now = now;
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

  /** Answers what has changed, for people; nothing when nothing has. */
  async round(seen: Seen, signal?: AbortSignal): Promise<string[]> {
    const { id, selfFenceMs } = this.customer;
    const saw = seen.peer || seen.witness;
    const looks = await noteLook(this.database, id, saw);
    // Of several workers one may be cut off alone: the site is not.
    const others = this.looks !== null && looks !== this.looks;
    this.looks = looks;
    this.lookout = lookOut(this.lookout, this.now(), saw || others);
    const because = selfFenceMs === undefined ? null : whyCutOff(this.lookout, this.now(), selfFenceMs);
    const closing = because === null ? null : await closeCutOff(this.database, id, because);
    if (closing) {
      await this.tellService(signal);
      return [`${id}: CLOSED: ${closing.because}; it opens when the peer confirms it`];
    }
    const opening = await openWhenConfirmed(this.database, id, seen.rights);
    if (!opening?.open) return [];
    await this.tellService(signal);
    return [`${id}: opened: ${opening.because}; it was closed since ${opening.closing.since}`];
  }

  /** It reads that by itself within seconds; asked, at once. */
  private async tellService(signal?: AbortSignal): Promise<void> {
    await askRights(this.settings, this.customer, this.settings.site, signal);
  }
}

/** Looks at the peer, and at the witness when the peer's database is silent and this site closes itself for that. */
export async function lookAround(
  settings: SiteSettings,
  customer: CustomerSettings,
  database: Database,
  signal?: AbortSignal,
): Promise<Seen> {
  const rights = await askPeerRights(customer, database, signal);
  if (rights.state !== 'silent' || customer.selfFenceMs === undefined)
    return { rights, peer: rights.state !== 'silent', witness: false };
  const [source, witness] = await Promise.all([
    observeSource(settings, customer, signal),
    witnessAnswers(settings, customer.peer, signal),
  ]);
  // Its database was just asked; what the witness tells of it shows the witness.
  const others = source.observers.filter(({ name }) => name !== 'database' && name !== WITNESS_OBSERVER);
  return { rights, peer: others.some(({ saw }) => saw === 'answers' || saw === 'serving'), witness };
}

/** Whether the witness answers, whatever it says of the peer. */
async function witnessAnswers(
  { witness, witnessUrl, publicKeys }: SiteSettings,
  peer: string,
  signal?: AbortSignal,
): Promise<boolean> {
  const look = async (limit: AbortSignal): Promise<boolean> => {
    if (witness) return hearBeat(witness, peer, publicKeys, limit).then(() => true);
    if (witnessUrl === undefined) return false;
    const status = await httpStatus(witnessUrl, limit);
    return status >= 200 && status < 300;
  };
  try {
    return await within(WITNESS_LIMIT_MS, 'witness', look, signal);
  } catch {
    signal?.throwIfAborted();
    return false;
  }
}

/** Guards every customer of this site, every ten seconds, while the worker lives. */
export async function guardSite(
  settings: SiteSettings,
  metrics: SiteMetrics,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<void> {
  await Promise.all(
    [...settings.customers.values()].map((customer) => guardCustomer(settings, customer, { metrics, signal, say })),
  );
}

async function guardCustomer(
  settings: SiteSettings,
  customer: CustomerSettings,
  { metrics, signal, say }: { metrics: SiteMetrics; signal: AbortSignal; say: (line: string) => void },
): Promise<void> {
  const { id } = customer;
  const database = new Database(`database of ${id} at ${settings.site}`, customer.databaseUrl, LIMITS);
  const guard = new SiteGuard(settings, customer, database);
  let silent = false;
  try {
    while (!signal.aborted) {
      const next = performance.now() + ALIVE_EVERY_MS;
      try {
        // A peer that swallows packets must not make this site look as if it were down.
        const [down, seen] = await Promise.allSettled([
          guard.alive(signal),
          lookAround(settings, customer, database, signal),
        ]);
        if (seen.status === 'rejected') throw seen.reason;
        const lines = await guard.round(seen.value, signal);
        if (down.status === 'rejected') throw down.reason;
        if (down.value) say(`${id}: CLOSED: ${down.value.because}; it opens when ${customer.peer} confirms it`);
        for (const line of lines) say(line);
        metrics.closed(id, settings.site, (await closingOf(database, id))?.kind ?? null);
        silent = false;
      } catch (error) {
        if (signal.aborted) break;
        if (!silent) say(`${id}: this site cannot be guarded: ${failureText(error)}`);
        silent = true;
      }
      await pause(Math.max(0, next - performance.now()), signal);
    }
  } finally {
    await database.close();
  }
}
