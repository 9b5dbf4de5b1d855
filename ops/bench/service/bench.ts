import { availableParallelism } from 'node:os';
import { setTimeout } from 'node:timers/promises';
import { usernameOf } from '../../embedded/people/life.ts';
import { below, makeFigure, type Figure } from '../report.ts';
import type { Signed } from './client.ts';
import { openScene, type Scene } from './scene.ts';

/** What users of the reference service notice of a failover. */

export interface ServiceBenchOptions {
  /** In the lost half, and how many in that of the large run. */
  users: number;
  large: number | false;
  runs: number;
  /** How many of the lost users sign in at once, as far as the survivor holds it. */
  storm: number;
  say: (line: string) => void;
  tell: (figure: Figure) => void;
  signal: AbortSignal;
}

const CONTACTS = 50;
const TALKERS = 5;
const TALK_EVERY_MS = 50;
/** Sign-ins that are under way at the same time: more only wait for each other. */
const AT_ONCE = 8;
const RETRY_MS = 50;

interface Seen {
  signedInMs: number;
  lastMs: number;
  /** Until the last probe of a service was green. */
  greenMs: number;
  sent: number;
  lost: number;
  delaysMs: number[];
  signInsMs: number[];
  stormMs: number;
}

const p99 = (samples: readonly number[]): number =>
  samples.toSorted((a, b) => a - b)[Math.ceil(samples.length * 0.99) - 1] ?? Number.NaN;

/** Users of a half in the order of their numbers, without those whose names are awkward on purpose. */
const plain = (half: number, many: number): string[] =>
  Array.from({ length: many }, (_, i) => usernameOf(2 * i + half)).filter((name) => /^u\d+$/.test(name));

/** Each run has a stack of its own, which is gone when it ends. */
export async function benchService(o: ServiceBenchOptions): Promise<{ figures: Figure[]; conditions: string[] }> {
  const { users, large, runs, tell } = o;
  const figures: Figure[] = [];
  const add = (...more: Figure[]): void => {
    more.forEach(tell);
    figures.push(...more);
  };
  const seen = await repeat(o, users, runs);
  add(...ofUsers(seen, users, o.storm), ...ofTalk(seen));
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
    const scene = await openScene(users, CONTACTS);
    try {
      o.say(`${users} users of the lost half, run ${run}: covered`);
      const seen = await once(scene, users, o.storm);
      o.say(`first signed in after ${Math.round(seen.signedInMs)} ms, ${seen.lost} of ${seen.sent} messages lost`);
      all.push(seen);
    } finally {
      await scene.close();
    }
  }
  return all;
}

/** A failover while some users of the survivor talk; then the lost ones sign in, the first and the last of them looked for from the start. */
async function once(scene: Scene, users: number, storm: number): Promise<Seen> {
  const talk = await startTalking(scene);
  try {
    return await whileTalking(scene, users, storm, talk);
  } finally {
    talk.end();
  }
}

async function whileTalking(scene: Scene, users: number, storm: number, talk: Talk): Promise<Seen> {
  const lost = plain(0, users);
  await scene.lose();
  const move = scene.failOver();
  const ended = move.then(
    () => undefined,
    () => undefined,
  );
  const [first, last] = await Promise.all([
    untilIn(scene, lost[0] ?? '', ended),
    untilIn(scene, lost.at(-1) ?? '', ended),
  ]);
  const report = await move;
  const told = await talk.stop();
  const approvedAt = Date.parse(report.approvedAt ?? '');
  const signIns = await signInAll(scene, lost.slice(1, 1 + storm));
  // A service that was not seen to work makes no figure.
  const stopped = (report.services ?? []).map(({ stoppedAt }) => Date.parse(stoppedAt ?? ''));
  const greenMs = Math.max(...stopped) - approvedAt;
  return { signedInMs: first - approvedAt, lastMs: last - approvedAt, greenMs, ...told, ...signIns };
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

interface Talk {
  stop: () => Promise<Pick<Seen, 'sent' | 'lost' | 'delaysMs'>>;
  end: () => void;
}

async function startTalking(scene: Scene): Promise<Talk> {
  const names = plain(1, 4 * TALKERS).slice(0, 2 * TALKERS);
  const sessions: Signed[] = [];
  for (const name of names) sessions.push(await scene.enter(name));
  const delaysMs: number[] = [];
  let sent = 0;
  const heard = new Set<string>();
  for (const session of sessions)
    session.onBody((body) => {
      const [id = '', at = ''] = body.split('/');
      if (heard.has(id)) return;
      heard.add(id);
      delaysMs.push(performance.now() - Number(at));
    });
  const speak = (): void => {
    for (let pair = 0; pair < TALKERS; pair += 1) {
      sent += 1;
      sessions[pair]?.say(scene.address(names[pair + TALKERS] ?? ''), `${sent}/${performance.now()}`);
    }
  };
  const timer = setInterval(speak, TALK_EVERY_MS);
  const end = (): void => {
    clearInterval(timer);
    sessions.forEach((session) => session.leave());
  };
  return {
    async stop() {
      clearInterval(timer);
      await setTimeout(2000);
      end();
      return { sent, lost: sent - heard.size, delaysMs };
    },
    end,
  };
}

/** All of them, a few at a time, and each stays. */
async function signInAll(scene: Scene, users: readonly string[]): Promise<Pick<Seen, 'signInsMs' | 'stormMs'>> {
  const waiting = [...users];
  const sessions: Signed[] = [];
  const signInsMs: number[] = [];
  const began = performance.now();
  const lane = async (): Promise<void> => {
    for (let user = waiting.shift(); user !== undefined; user = waiting.shift()) {
      const from = performance.now();
      sessions.push(await scene.enter(user));
      signInsMs.push(performance.now() - from);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  const stormMs = performance.now() - began;
  sessions.forEach((session) => session.leave());
  return { signInsMs, stormMs };
}

function ofUsers(seen: readonly Seen[], users: number, storm: number): Figure[] {
  const none = { theirs: [], goal: null };
  return [
    makeFigure({
      figure: 'signed-in',
      unit: 's',
      ours: seen.map(({ signedInMs }) => signedInMs / 1000),
      theirs: [],
      goal: below(5, 's'),
      note: `${users} users of a lost site; from the second approval until the first of them has signed in at the survivor`,
    }),
    makeFigure({
      figure: 'probes-green',
      unit: 's',
      ours: seen.map(({ greenMs }) => greenMs / 1000),
      theirs: [],
      goal: below(30, 's'),
      note: 'from the second approval until every promised service was seen to work by real clients',
    }),
    makeFigure({
      figure: 'storm-rate',
      unit: 'sign-ins/s',
      ours: seen.map(({ signInsMs, stormMs }) => (1000 * signInsMs.length) / stormMs),
      ...none,
      note: `${storm} of them sign in and stay, ${AT_ONCE} at a time`,
    }),
    makeFigure({
      figure: 'storm-p99',
      unit: 's',
      ours: seen.map(({ signInsMs }) => p99(signInsMs) / 1000),
      ...none,
      note: 'the slowest of a hundred of these sign-ins',
    }),
  ];
}

function ofTalk(seen: readonly Seen[]): Figure[] {
  const talk = `${TALKERS} pairs of users who stayed, a message each ${TALK_EVERY_MS} ms, from before the loss until the move has ended`;
  return [
    makeFigure({
      figure: 'messages-lost',
      unit: 'messages',
      ours: seen.map(({ lost }) => lost),
      theirs: [],
      goal: below(1, 'messages'),
      note: talk,
    }),
    makeFigure({
      figure: 'message-delay-p99',
      unit: 'ms',
      ours: seen.map(({ delaysMs }) => p99(delaysMs)),
      theirs: [],
      goal: null,
      note: talk,
    }),
  ];
}

const servable = (seen: readonly Seen[], users: number): Figure =>
  makeFigure({
    figure: 'servable',
    unit: 's',
    ours: seen.map(({ signedInMs, lastMs }) => Math.max(signedInMs, lastMs) / 1000),
    theirs: [],
    goal: below(60, 's'),
    note: `${users} users of a lost site; from the second approval until the first and the last of them have signed in`,
  });
