import { availableParallelism } from 'node:os';
import { setTimeout } from 'node:timers/promises';
import type { Figure } from '../report.ts';
import { unlessStopped } from '../stopped.ts';
import { ofStorms, ofTalk, ofUsers, servable } from './figures.ts';
import { openScene, type Door, type Scene } from './scene.ts';
import { signInAll, type Storm } from './storm.ts';
import { plain, startTalking, type Heard, type Letters, type Talk } from './talk.ts';

/** What users of the reference service notice of a failover. */

export interface ServiceBenchOptions {
  /** In the lost half, and how many in that of the large run. */
  users: number;
  large: number | false;
  runs: number;
  /** How many of the lost users come at the same moment. */
  storm: number;
  say: (line: string) => void;
  tell: (figure: Figure) => void;
  signal: AbortSignal;
}

const CONTACTS = 50;
const RETRY_MS = 50;
const QUIET = { forMs: 2000, belowMs: 300, tries: 30 };

export interface Seen {
  signedInMs: number;
  lastMs: number;
  /** Until the last probe of a service was green. */
  greenMs: number;
  /** During the failover. */
  talk: Heard;
  letters: Letters;
  /** All at once, through the proxy that paces them and without it; and what the talkers noticed. Empty without a storm. */
  storms: Partial<Record<Door, Storm & { talk: Heard }>>;
}

/** Each run has a stack of its own, which is gone when it ends. */
export async function benchService(o: ServiceBenchOptions): Promise<{ figures: Figure[]; conditions: string[] }> {
  const { users, large, runs, tell } = o;
  const figures: Figure[] = [];
  const add = (...more: Figure[]): void => {
    more.forEach(tell);
    figures.push(...more);
  };
  const seen = await repeat(o, users, runs);
  add(...ofUsers(seen, users), ...ofTalk(seen), ...ofStorms(seen, o.storm));
  if (large !== false) add(servable(await repeat({ ...o, storm: 0 }, large, 1), large));
  return {
    figures,
    conditions: [
      `${availableParallelism()} cores for all together: PostgreSQL, vault, Temporal, worker and ejabberd of both sites, and the clients`,
      `medians of ${runs} runs; ${CONTACTS} contacts a user${large === false ? '' : `; one run of ${large} users`}`,
    ],
  };
}

async function repeat(o: ServiceBenchOptions, users: number, runs: number): Promise<Seen[]> {
  const all: Seen[] = [];
  for (let run = 1; run <= runs; run += 1) {
    o.signal.throwIfAborted();
    const scene = await openScene(users, CONTACTS, o.signal);
    try {
      o.say(`${users} users of the lost half, run ${run}: covered`);
      // Whoever comes second finds a warmer server: they take turns.
      const doors: readonly Door[] = run % 2 === 1 ? ['proxy', 'server'] : ['server', 'proxy'];
      const storms = o.storm > 0 ? { size: o.storm, doors } : null;
      const seen = await unlessStopped(o.signal, once(scene, users, storms));
      o.say(
        `first signed in after ${Math.round(seen.signedInMs)} ms, ${seen.talk.lost} of ${seen.talk.sent} messages lost`,
      );
      all.push(seen);
    } finally {
      await scene.close();
    }
  }
  return all;
}

type Storms = { size: number; doors: readonly Door[] } | null;

/** A failover while some users of the survivor talk; then the lost ones sign in, the first and the last of them looked for from the start. */
async function once(scene: Scene, users: number, storms: Storms): Promise<Seen> {
  const [first = '', absent = '', ...others] = plain(0, users);
  const talk = await startTalking(scene, absent);
  try {
    const moved = await failOver(scene, first, others.at(-1) ?? '');
    const seen: Seen = { ...moved, talk: await talk.heard(), letters: await talk.letters(), storms: {} };
    for (const [n, door] of (storms?.doors ?? []).entries()) {
      const size = storms?.size ?? 0;
      seen.storms[door] = await storm(scene, talk, others.slice(n * size, (n + 1) * size), door);
    }
    return seen;
  } finally {
    talk.end();
  }
}

async function failOver(
  scene: Scene,
  first: string,
  last: string,
): Promise<Pick<Seen, 'signedInMs' | 'lastMs' | 'greenMs'>> {
  await scene.lose();
  const move = scene.failOver();
  const ended = move.then(
    () => undefined,
    () => undefined,
  );
  const [firstIn, lastIn] = await Promise.all([untilIn(scene, first, ended), untilIn(scene, last, ended)]);
  const report = await move;
  const approvedAt = Date.parse(report.approvedAt ?? '');
  // A service that was not seen to work makes no figure.
  const stopped = (report.services ?? []).map(({ stoppedAt }) => Date.parse(stoppedAt ?? ''));
  return { signedInMs: firstIn - approvedAt, lastMs: lastIn - approvedAt, greenMs: Math.max(...stopped) - approvedAt };
}

/** What went before, a crowd that left among it, is not to be seen in what is measured next. */
async function untilQuiet(talk: Talk): Promise<void> {
  for (let tries = 0; tries < QUIET.tries; tries += 1) {
    await talk.heard();
    await setTimeout(QUIET.forMs);
    const { delaysMs } = await talk.heard();
    if (Math.max(...delaysMs) < QUIET.belowMs) return;
  }
}

async function storm(scene: Scene, talk: Talk, users: readonly string[], door: Door): Promise<Storm & { talk: Heard }> {
  await untilQuiet(talk);
  const { leave, ...seen } = await signInAll(users, scene.through(door));
  const heard = await talk.heard();
  await leave();
  return { ...seen, talk: heard };
}

/** When, by the clock, this user could first sign in. Tries until then, or until a while after the move has ended. */
async function untilIn(scene: Scene, user: string, ended: Promise<void>): Promise<number> {
  let over = false;
  void ended.then(() => setTimeout(30_000, undefined, { ref: false })).then(() => (over = true));
  for (;;) {
    try {
      const session = await scene.enter(user);
      session.leave();
      return Date.now();
    } catch (error) {
      if (over) throw error;
      await setTimeout(RETRY_MS);
    }
  }
}
