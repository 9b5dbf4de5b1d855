import { failure } from '../../workflows/model/failures.ts';
import type { StepKey, StepResult } from '../../workflows/model/moves.ts';
import { halvesOf } from '../../workflows/model/plan.ts';
import type { Database } from '../contacts/database.ts';
import { lockEpoch } from '../contacts/restore.ts';
import type { Running } from '../running.ts';
import type { Seen } from '../services/check.ts';
import { doneBefore, noteEffect } from '../services/effects.ts';
import type { PlannedStep } from '../services/planned.ts';
import type { OwnSite } from '../services/site.ts';
import { DestinationArchive, type Bringing, type Stand } from './destination.ts';
import { keptFrom } from './expired.ts';
import { pieces, readRows, readWindow, type Place, type Window } from './reading.ts';
import { ownArchive, unfit } from './unfit.ts';

/** Of the step's time: what is left to tell how far it has come. */
const TELL_MS = 5000;
/** When the plan does not say. */
const USUAL_MS = 1_800_000;
/** For `done`, of the three minutes that a look may take. */
const CHECK_MS = 120_000;

/** Sizes, for tests: what is read by one statement, and what is brought by one transaction. */
export interface Sizes {
  window?: number;
  batch?: number;
}

/**
 * Brings what was archived here for the users who moved, and is not in the archive of the site where they are served now, to that: once,
 * also when it was there before, and what is still kept alone. In batches, each one transaction there, with how far it has come: a
 * repeat goes on behind the last of them, in a later round as well. `archive-unfit` when that site's archive cannot take
 * the rows as they are, `archive-slow` when the step's time is over and there is more.
 */
export async function reconcileArchive(
  site: OwnSite,
  input: PlannedStep,
  work: Running,
  sizes: Sizes = {},
): Promise<StepResult> {
  const { key, plan } = input;
  const customer = site.customer(key.customer);
  const database = site.database(customer.id);
  const done = await doneBefore(database, input);
  if (done) return done;
  const { timeoutMs = USUAL_MS } = plan.decisions.steps.find(({ id }) => id === key.step) ?? {};
  const until = performance.now() + Math.max(timeoutMs - TELL_MS, timeoutMs / 2);
  await database.transaction((client) => lockEpoch(client, database.name, customer.id, key.epoch));
  const from = await keptFrom(database, { now: Date.now() });
  const { to } = plan.decisions;
  const own = site.settings.site;
  const there = new DestinationArchive(customer);
  try {
    const result =
      from === null
        ? { summary: `${own} has no archive: there is nothing to bring`, facts: { rows: 0, brought: 0 } }
        : resultOf(own, to, await new Bringer(site, input, there, { ...sizes, until, work }).toEnd(from));
    return await database.transaction(async (client) => {
      await lockEpoch(client, database.name, customer.id, key.epoch);
      return noteEffect(client, input, result);
    });
  } finally {
    await there.close();
  }
}

/** Without the round: what one round has brought, the next one need not look at. */
const standKey = ({ customer, epoch, step }: StepKey): string => `${customer}/${epoch.number}/${step}`;

class Bringer {
  private readonly database: Database;
  private readonly there: DestinationArchive;
  private readonly bringing: Bringing;
  private readonly run: Sizes & { until: number; work: Running };
  private readonly told: { id: string; own: string; to: string };
  private stand: Stand | null = null;
  private columns: readonly string[] = [];

  constructor(site: OwnSite, { key, plan }: PlannedStep, there: DestinationArchive, run: Bringer['run']) {
    this.database = site.database(key.customer);
    this.there = there;
    this.bringing = { halves: halvesOf(plan.decisions), key: standKey(key), epoch: key.epoch };
    this.run = run;
    this.told = { id: key.customer, own: site.settings.site, to: plan.decisions.to };
  }

  async toEnd(from: number): Promise<Stand | null> {
    const { id, own, to } = this.told;
    const [here, table] = [await ownArchive(this.database), await this.there.look()];
    const why = unfit({ own, to }, here, table);
    if (why !== null) throw failure('archive-unfit', `archive of ${id} at ${why}`);
    this.columns = here.columns;
    this.stand = await this.there.stand(this.bringing);
    const { signal, heartbeat } = this.run.work;
    let after = this.start(from);
    for (;;) {
      signal.throwIfAborted();
      const window = await readWindow(this.database, { after, halves: this.bringing.halves, size: this.run.window });
      if (!window.end) return this.stand;
      if (window.rows.length > 0) await this.bring(window, window.end);
      after = window.end;
      const { looked = 0, brought = 0 } = this.stand ?? {};
      heartbeat({ looked, brought });
      if (performance.now() > this.run.until)
        throw failure(
          'archive-slow',
          `archive of ${id} at ${to}: looked at ${looked} messages, brought ${brought}, and time is over`,
        );
    }
  }

  /** What is out of keeping is not brought, nor looked at. */
  private start(from: number): Place {
    return this.stand && this.stand.at >= from ? this.stand : { at: from, id: -1 };
  }

  private async bring({ rows, told }: Window, end: Place): Promise<void> {
    const { lacking, strangers } = await this.there.lacks(this.bringing.halves, told);
    const missing = new Set(lacking);
    const wanted = rows.flatMap((row, i) => (missing.has(i + 1) ? [{ ...row, number: i + 1 }] : []));
    const passed = (from: number, to: number): { looked: number; strangers: number } => ({
      looked: to - from,
      strangers: strangers.filter((number) => number > from && number <= to).length,
    });
    let done = 0;
    for (const batch of pieces(wanted, { most: this.run.batch })) {
      this.run.work.signal.throwIfAborted();
      const { number, ...last } = batch.at(-1) ?? { ...end, number: done };
      await this.take(batch, { to: last, ...passed(done, number) });
      done = number;
    }
    // All of them were looked at, whatever came after the last one that was brought.
    if (done < rows.length) await this.take([], { to: end, ...passed(done, rows.length) });
  }

  private async take(rows: readonly Place[], of: { to: Place; looked: number; strangers: number }): Promise<void> {
    const text = rows.length === 0 ? '[]' : await readRows(this.database, rows);
    const { at, id } = of.to;
    const from = this.stand && { at: this.stand.at, id: this.stand.id };
    this.stand = await this.there.take(this.bringing, text, { ...of, to: { at, id }, from, columns: this.columns });
  }
}

function resultOf(own: string, to: string, stand: Stand | null): StepResult {
  const { looked = 0, brought = 0, strangers = 0 } = stand ?? {};
  return {
    summary: `${to} has the ${looked - strangers} archived messages of these users that ${own} has: ${brought} of them were brought`,
    facts: { rows: looked, brought, strangers },
    ...(strangers > 0 && {
      alarms: [
        `${strangers} archived messages at ${own} are of users who are not of this half at ${to}: they were not brought`,
      ],
    }),
  };
}

/** For `done`: how many archived messages of these users are here and not there. Changes nothing. */
export async function archiveBrought(
  site: OwnSite,
  { key, plan }: PlannedStep,
  signal: AbortSignal,
  { limitMs = CHECK_MS, ...sizes }: Sizes & { limitMs?: number } = {},
): Promise<Seen> {
  const customer = site.customer(key.customer);
  const database = site.database(customer.id);
  const { to } = plan.decisions;
  const own = site.settings.site;
  const from = await keptFrom(database, { now: Date.now() });
  if (from === null) return { seen: true, summary: `${own} has no archive` };
  const until = performance.now() + limitMs;
  const there = new DestinationArchive(customer);
  const halves = halvesOf(plan.decisions);
  try {
    const why = unfit({ own, to }, await ownArchive(database), await there.look());
    if (why !== null) return { seen: false, summary: why };
    let missing = 0;
    for (let after: Place | null = { at: from, id: -1 }; after;) {
      signal.throwIfAborted();
      const window: Window = await readWindow(database, { after, halves, size: sizes.window });
      if (window.rows.length > 0) missing += (await there.lacks(halves, window.told)).lacking.length;
      after = window.end;
      if (after && performance.now() > until)
        return {
          seen: false,
          summary: `${missing} archived messages are missing at ${to} among those that could be looked at in time`,
        };
    }
    const summary =
      missing === 0 ? `${to} has all that ${own} has` : `${missing} archived messages are missing at ${to}`;
    return { seen: missing === 0, summary };
  } finally {
    await there.close();
  }
}
