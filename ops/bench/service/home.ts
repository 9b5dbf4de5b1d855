import { availableParallelism } from 'node:os';
import { setTimeout } from 'node:timers/promises';
import { makeRelocatePlan } from '../../../activities/services/plan-relocate.ts';
import { previewReconciliation } from '../../../activities/services/reconcile.ts';
import { openSite, type OwnSite } from '../../../activities/services/site.ts';
import type { FailoverReport } from '../../../workflows/model/moves.ts';
import type { Plan } from '../../../workflows/model/plan.ts';
import { broughtTogether } from '../../../workflows/model/planned-move.ts';
import { CUSTOMER } from '../../embedded/configuration.ts';
import { editPeople } from '../../embedded/people/edit.ts';
import { Fault } from '../../fault.ts';
import { snapshotNow, standbyNow } from '../../snapshots.ts';
import { below, makeFigure, median, type Figure } from '../report.ts';
import { unlessStopped } from '../stopped.ts';
import { LOST, openScene, SURVIVOR, type Scene } from './scene.ts';
import { plain, startTalking, TALK_EVERY_MS, TALKERS, type Heard, type Letters } from './talk.ts';

/** What the way home costs: a failback of users of whom some have changed at either site. */

export interface HomeBenchOptions {
  users: number;
  runs: number;
  say: (line: string) => void;
  tell: (figure: Figure) => void;
  signal: AbortSignal;
}

const CONTACTS = 100;
const DIVERGED = 0.01;
const READY_MS = 300_000;
const RETRY_MS = 25;
const LOOK_MS = 500;

interface Seen {
  /** From the second approval until the destination had the users. */
  movedMs: number;
  /** Of one who was signed in: from the end of his session until he was signed in again. */
  awayMs: number;
  /** The product's own account of it, for all. */
  unreachableMs: number;
  /** What that was made of, ms. */
  parts: Record<(typeof PARTS)[number], number>;
  diffMs: number;
  differing: number;
  talk: Heard;
  letters: Letters;
}

/** Each run has a stack of its own, which is gone when it ends. */
export async function benchHome(o: HomeBenchOptions): Promise<{ figures: Figure[]; conditions: string[] }> {
  const seen: Seen[] = [];
  for (let run = 1; run <= o.runs; run += 1) {
    o.signal.throwIfAborted();
    const scene = await openScene(o.users, CONTACTS, o.signal);
    try {
      o.say(`${o.users} users of each half, run ${run}: covered`);
      seen.push(await unlessStopped(o.signal, once(scene, o)));
    } finally {
      await scene.close();
    }
  }
  const figures = figuresOf(seen, o.users);
  figures.forEach(o.tell);
  return {
    figures,
    conditions: [
      `${availableParallelism()} cores for all together: PostgreSQL, vault, Temporal, worker and ejabberd of both sites, and the clients`,
      `medians of ${o.runs} runs; ${o.users} users in each half with ${CONTACTS} contacts each, ${100 * DIVERGED} % of the lost half changed at each site`,
    ],
  };
}

async function once(scene: Scene, o: HomeBenchOptions): Promise<Seen> {
  const some = Math.ceil(o.users * DIVERGED);
  await change(scene, LOST, some);
  await scene.lose();
  await scene.failOver();
  await change(scene, SURVIVOR, some);
  await scene.comeBack();
  o.say('failed over, and back');
  const site = openSite(await scene.settings(SURVIVOR));
  try {
    const plan = await untilReady(scene, site, o.signal);
    const diff = await differ(site, plan, o.signal);
    o.say(`${diff.differing} users differ, found in ${Math.round(diff.diffMs)} ms`);
    return { ...diff, ...(await goHome(scene, o.users)) };
  } finally {
    await site.close();
  }
}

/** Of the lost half, in the database of a site. */
const change = (scene: Scene, at: string, users: number): Promise<number> =>
  editPeople({ seed: `bench, ${at}`, url: scene.stack.sites[at]?.databaseUrl ?? '', site: LOST, users });

/** The returned site obeys, salvages, and holds a copy of everybody as they were served meanwhile: until then nobody is protected. */
async function untilReady(scene: Scene, site: OwnSite, signal: AbortSignal): Promise<Plan> {
  const input = {
    customer: CUSTOMER,
    half: LOST,
    from: SURVIVOR,
    to: LOST,
    rule: 'survivor' as const,
    reason: 'a look',
    requestedBy: 'nobody',
  };
  const customer = (await scene.settings(LOST)).customers.get(CUSTOMER);
  const here = (await scene.settings(SURVIVOR)).customers.get(CUSTOMER);
  const point = here ? (await snapshotNow(scene.client(SURVIVOR), SURVIVOR, here)).point : '';
  let because = '';
  for (
    const deadline = Date.now() + READY_MS;
    Date.now() < deadline;
    await setTimeout(LOOK_MS, undefined, { signal })
  ) {
    if (customer) await standbyNow(scene.client(LOST), LOST, customer).catch(() => undefined);
    try {
      const plan = await makeRelocatePlan(site, { input, declaredAt: new Date().toISOString() }, { signal });
      if (plan.blockers.length === 0 && Date.parse(plan.source.point) >= Date.parse(point)) return plan;
      because = plan.blockers.map(({ text }) => text).join('; ') || `the copy at ${LOST} is of ${plan.source.point}`;
    } catch (error) {
      signal.throwIfAborted();
      because = error instanceof Error ? error.message : String(error);
    }
  }
  throw new Fault(`bench: users cannot go home: ${because}`, 'Look at the logs of the workers.');
}

async function differ(
  site: OwnSite,
  { decisions }: Plan,
  signal: AbortSignal,
): Promise<Pick<Seen, 'diffMs' | 'differing'>> {
  const all = broughtTogether(decisions);
  if (all.length === 0) throw new Fault('bench: nothing is to be brought together', 'Run it again.');
  const work = { heartbeat: () => undefined, signal };
  const begun = performance.now();
  const { users } = await previewReconciliation(site, CUSTOMER, all, () => undefined, work);
  return { diffMs: performance.now() - begun, differing: users };
}

async function goHome(scene: Scene, users: number): Promise<Omit<Seen, 'diffMs' | 'differing'>> {
  const [one = '', absent = ''] = plain(0, users);
  const talk = await startTalking(scene, absent);
  try {
    const moving = scene.failBack();
    const [report, awayMs] = await Promise.all([moving, away(scene, one, moving)]);
    return {
      movedMs: Date.parse(report.servedAt ?? '') - Date.parse(report.approvedAt ?? ''),
      unreachableMs: report.unreachableMs ?? Number.NaN,
      parts: partsOf(report),
      awayMs,
      talk: await talk.heard(),
      letters: await talk.letters(LOST),
    };
  } finally {
    talk.end();
  }
}

const PARTS = ['drained', 'copied', 'there', 'handed over'] as const;
const told = (seen: readonly Seen[]): string =>
  PARTS.map((part) => `${part} ${(median(seen.map(({ parts }) => parts[part])) / 1000).toFixed(1)} s`).join(', ');

function partsOf({ steps }: FailoverReport): Seen['parts'] {
  const step = (act: string): (typeof steps)[number] | undefined => steps.findLast((s) => s.act === act);
  const facts = step('take-snapshot')?.facts ?? {};
  return {
    drained: step('drain-sessions')?.tookMs ?? 0,
    copied: Number(facts['takenMs'] ?? 0),
    there: Number(facts['waitedMs'] ?? 0),
    'handed over': step('serve-users')?.tookMs ?? 0,
  };
}

/** One who is signed in where he was moved to: his session ends, and he comes back wherever he is let in first. */
async function away(scene: Scene, user: string, moving: Promise<FailoverReport>): Promise<number> {
  const session = await scene.enter(user, SURVIVOR);
  let over = false;
  const stop = (): void => void (over = true);
  void moving.then(stop, stop);
  while (!session.ended()) {
    if (over) throw new Fault('bench: a session outlived the hand-over', 'Look at the log of the service.');
    await setTimeout(RETRY_MS);
  }
  const begun = performance.now();
  for (const tried of endless([LOST, SURVIVOR])) {
    try {
      (await scene.enter(user, tried)).leave();
      return performance.now() - begun;
    } catch {
      if (performance.now() - begun > READY_MS) throw new Fault('bench: a user was let in nowhere', 'Run it again.');
      await setTimeout(RETRY_MS);
    }
  }
  return Number.NaN;
}

function* endless<T>(of: readonly T[]): Generator<T> {
  for (;;) yield* of;
}

function figuresOf(seen: readonly Seen[], users: number): Figure[] {
  const timed = (figure: string, of: (s: Seen) => number, limit: number, note: string): Figure =>
    makeFigure({ figure, unit: 's', ours: seen.map((s) => of(s) / 1000), theirs: [], goal: below(limit, 's'), note });
  const counted = (figure: string, of: (s: Seen) => number, note: string, limit: number | null): Figure =>
    makeFigure({
      figure,
      unit: 'messages',
      ours: seen.map(of),
      theirs: [],
      goal: limit === null ? null : below(limit, 'messages'),
      note,
    });
  const letters = 'written during the move to a user who moves and is away';
  return [
    timed('failback', (s) => s.movedMs, 60, `${users} users; from the second approval until they are served at home`),
    timed(
      'unreachable',
      (s) => s.awayMs,
      5,
      'one who is signed in: from the end of his session until he is signed in at home',
    ),
    timed('served-nowhere', (s) => s.unreachableMs, 5, `by the report, for all of them: ${told(seen)}`),
    timed('diff-three-ways', (s) => s.diffMs, 10, 'snapshot, survivor and salvage, by the preview'),
    counted(
      'messages-lost',
      (s) => s.talk.lost,
      `${TALKERS} pairs of users who stay, a message each ${TALK_EVERY_MS} ms`,
      1,
    ),
    counted('letters-told', (s) => s.letters.refused, `${letters}: the sender is told`, null),
    counted('letters-kept', (s) => s.letters.kept, `${letters}: there when he signs in`, null),
    counted(
      'letters-elsewhere',
      ({ letters: { sent, refused, kept } }) => sent - refused - kept,
      `${letters}: neither; in the store of the site that he left, as the plan says`,
      null,
    ),
  ];
}
