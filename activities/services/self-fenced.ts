import { setTimeout } from 'node:timers/promises';
import { compareEpoch } from '../../workflows/model/epoch.ts';
import { failure, failureKind, failureText } from '../../workflows/model/failures.ts';
import type { Isolation, Step } from '../../workflows/model/plan.ts';
import { duration } from '../../workflows/model/rto.ts';
import { within } from '../probes/peer.ts';
import type { CustomerSettings, SiteSettings } from '../settings.ts';
import { readClaims } from '../vault/epochs.ts';
import { claimAgain } from './claims.ts';
import { ask as askPeer } from './peer-functions.ts';
import type { PlannedStep } from './planned.ts';
import type { OwnSite } from './site.ts';

/**
 * Words and silence do not close a site. With `self-fence` one that is only cut off closes itself, unless it sees the witness,
 * where this move's claim tells it to close: so once that has stood there for long enough, nobody is served twice whatever
 * people stated.
 */

/** From its limit until a cut-off site is closed (CLOSING.md), and until its service believes no longer what it has read. */
const CLOSES_WITHIN_MS = 40_000;
const WITNESS_MS = 3000;
const LOOK_MS = 1000;
/** Of the step's time: what is left to tell why. */
const TELL_MS = 5000;

/** How long a claim has to stand in the witness; null when nothing is waited for: no claim stands in a witness that is a URL. */
export const selfFencedAfterMs = (
  { witness }: Pick<SiteSettings, 'witness'>,
  { selfFenceMs }: Pick<CustomerSettings, 'selfFenceMs'>,
): number | null => (witness && selfFenceMs !== undefined ? selfFenceMs + CLOSES_WITHIN_MS : null);

/** The steps of a plan, in which `fence-site` has the time to wait where words or silence may have to do. */
export function withWaits(
  steps: Step[],
  { statement, verdict }: Pick<Isolation, 'statement' | 'verdict'>,
  settings: SiteSettings,
  customer: CustomerSettings,
): Step[] {
  const waitsMs = selfFencedAfterMs(settings, customer);
  if (waitsMs === null || (statement === null && verdict !== 'dead')) return steps;
  const waits = (step: Step): Step => ({ ...step, timeoutMs: step.timeoutMs + waitsMs, waitsMs });
  return steps.map((step) => (step.act === 'fence-site' ? waits(step) : step));
}

/** What a wrong statement, or a site that only looks dead, comes to. The peer goes by the same configuration. */
export function ifOnlyCutOff(settings: SiteSettings, customer: CustomerSettings): string {
  const { peer, selfFenceMs } = customer;
  const { site } = settings;
  if (selfFenceMs === undefined)
    return `self-fence is not configured: if ${peer} is only cut off, it goes on serving whoever still reaches it`;
  const waitsMs = selfFencedAfterMs(settings, customer);
  const closes = `if ${peer} is only cut off, it closes itself ${duration(selfFenceMs)} after it last saw ${site} or the witness`;
  if (waitsMs === null)
    return `${closes}; a witness that is a URL does not tell it of a claim, and nothing is waited for`;
  return `${closes}: where its database cannot be closed, nobody is served at ${site} before the claim has stood in the witness for ${duration(waitsMs)}`;
}

/**
 * Why the peer would not close itself when this site takes it to: it goes by another limit. Null where both have the same, and where the
 * peer does not tell. A failover that waits for less than the peer's limit would serve beside it.
 */
export async function whySelfFenceApart(
  { site }: Pick<SiteSettings, 'site'>,
  customer: CustomerSettings,
  signal: AbortSignal,
): Promise<string | null> {
  const { id, peer, selfFenceMs } = customer;
  const ask = <Row extends Record<string, unknown>>(sql: string, values: unknown[]): Promise<Row[]> =>
    askPeer<Row>(customer, sql, values, { signal, silent: { kind: 'source-unreachable' } });
  try {
    const [knows] = await ask<{ tells: boolean }>(
      `select to_regprocedure('tandem.observe_self_fence()') is not null as tells`,
      [],
    );
    if (knows?.tells !== true) return null;
    const sql = 'select seconds from tandem.observe_self_fence() where customer = $1';
    const [row] = await ask<{ seconds: number | null }>(sql, [id]);
    if (!row) return null;
    const told = (ms: number | undefined): string => (ms === undefined ? 'none' : duration(ms));
    const theirs = row.seconds === null ? undefined : row.seconds * 1000;
    return theirs === selfFenceMs
      ? null
      : `self-fence: ${site} has ${told(selfFenceMs)} and ${peer} ${told(theirs)}; a failover waits for what its own site has, so both must have the same`;
  } catch (error) {
    signal.throwIfAborted();
    if (failureKind(error) === 'source-unreachable') return null; // Others say that it is silent.
    throw error;
  }
}

/** Since when this move's claim stands in the witness, and whether for long enough. */
export interface Stood {
  enough: boolean;
  /** Another claim stood against it, when it was tried again. */
  refused: boolean;
  told: string;
}

/** By this site's own memory of it, and its database's clock. */
export async function claimStood(
  site: OwnSite,
  { key: { customer, epoch } }: Pick<PlannedStep, 'key'>,
  waitsMs: number,
): Promise<Stood> {
  const rows = await site
    .database(customer)
    .query<{ claimed: boolean; refused: boolean; because: string | null; ms: number }>(
      `select claimed, refused, because, extract(epoch from clock_timestamp() - at)::float8 * 1000 as ms from tandem.claim
      where customer = $1 and number = $2 and move = $3 and store = 'witness'`,
      [customer, epoch.number, epoch.move],
    );
  const [row] = rows;
  if (!row?.claimed)
    return {
      enough: false,
      refused: row?.refused === true,
      told: `its claim does not stand in the witness (${row?.because ?? 'none was made'})`,
    };
  const told = `its claim has stood in the witness for ${duration(Math.max(0, row.ms))}, of ${duration(waitsMs)}`;
  return { enough: row.ms >= waitsMs, refused: false, told };
}

/**
 * Waits until the claim has stood in the witness for `waitsMs`, and is still the newest there. `changed` is asked all the
 * while: a source that answers meanwhile, and is closed by machine or speaks against what was found, is waited for no longer, and
 * null is answered. `isolation-unknown` at the end of the step's time, `epoch-superseded` when a newer claim stands there: a source
 * that lives keeps its users by it.
 */
export async function waitSelfFenced(
  site: OwnSite,
  input: PlannedStep,
  { waitsMs, timeoutMs }: { waitsMs: number; timeoutMs: number },
  changed: () => Promise<boolean>,
  signal?: AbortSignal,
): Promise<string | null> {
  const { customer, epoch } = input.key;
  const until = performance.now() + Math.max(timeoutMs - TELL_MS, timeoutMs / 2);
  for (;;) {
    await claimAgain(site, { customer, move: epoch.move }, { afterMs: LOOK_MS, ...(signal && { signal }) });
    const { enough, refused, told } = await claimStood(site, input, waitsMs);
    const silent = enough || refused ? await whyNotNewest(site, input, signal) : told;
    if (silent === null) return told;
    if (performance.now() >= until)
      throw failure(
        'isolation-unknown',
        `${site.customer(customer).peer}: not closed by machine, and with self-fence it cannot be known to have closed itself: ${silent}`,
      );
    await setTimeout(LOOK_MS, undefined, signal && { signal });
    if (await changed()) return null;
  }
}

/** Null when it is; why that cannot be known, when it cannot. */
async function whyNotNewest(
  { settings, witness }: OwnSite,
  { key: { customer, epoch } }: PlannedStep,
  signal: AbortSignal | undefined,
): Promise<string | null> {
  if (!witness) return 'no witness is configured any more';
  const { publicKeys } = settings;
  try {
    const read = (limit: AbortSignal) => readClaims(witness, customer, { publicKeys, signal: limit });
    const { newest } = await within(WITNESS_MS, 'claims in the witness', read, signal);
    if (newest && compareEpoch(epoch, newest) === 'newer')
      throw failure(
        'epoch-superseded',
        `${customer}: in the witness epoch ${newest.number} is claimed by ${newest.site}, this move holds ${epoch.number}`,
      );
    return newest && compareEpoch(newest, epoch) === 'same' ? null : 'its claim is not the newest in the witness';
  } catch (error) {
    signal?.throwIfAborted();
    if (failureKind(error) === 'epoch-superseded') throw error;
    return failureText(error);
  }
}
