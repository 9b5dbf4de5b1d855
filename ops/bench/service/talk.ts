import { setTimeout } from 'node:timers/promises';
import { usernameOf } from '../../embedded/people/life.ts';
import type { Signed } from './client.ts';
import type { Scene } from './scene.ts';

/** Users of the site that stays, who talk while the other one is lost and its users come. */

export const TALKERS = 5;
export const TALK_EVERY_MS = 50;
/** What has not come by then is lost. */
const LAST_WORD_MS = 30_000;
const LOOK_EVERY_MS = 50;
/** For what was kept to come after a sign-in. */
const KEPT_MS = 2000;
/** One of them writes to a user of the lost site as often as this. */
const LETTER_EVERY_MS = 100;
const LETTER = 'letter ';

export interface Heard {
  sent: number;
  lost: number;
  delaysMs: number[];
}

/** What became of messages to a user of the lost site who was not there to take them. */
export interface Letters {
  sent: number;
  /** Came back: the sender knows. */
  refused: number;
  /** Were there when he signed in again. */
  kept: number;
}

export interface Talk {
  /** What was said since the last time that this was asked, or since the beginning. */
  heard: () => Promise<Heard>;
  /** Ends the letters, and signs the one in to whom they were written, at a site. */
  letters: (at?: string) => Promise<Letters>;
  end: () => void;
}

/** Users of a half in the order of their numbers, without those whose names are awkward on purpose. */
export const plain = (half: number, many: number): string[] =>
  Array.from({ length: many }, (_, i) => usernameOf(2 * i + half)).filter((name) => /^u\d+$/.test(name));

/** Pairs of users, a message each every TALK_EVERY_MS, and one who writes to `absent` beside it. */
export async function startTalking(scene: Scene, absent: string): Promise<Talk> {
  const names = plain(1, 4 * TALKERS).slice(0, 2 * TALKERS);
  const sessions: Signed[] = [];
  for (const name of names) sessions.push(await scene.enter(name));
  const writer = sessions[0];
  const letters = { sent: 0, refused: 0, kept: 0 };
  let said = 0;
  let spoken = { sent: 0, at: new Map<string, number>(), delaysMs: [] as number[] };
  for (const session of sessions)
    session.onBody((body, refused) => {
      if (body.startsWith(LETTER)) {
        if (refused) letters.refused += 1;
        return;
      }
      const at = spoken.at.get(body);
      if (at === undefined || refused) return;
      spoken.at.delete(body);
      spoken.delaysMs.push(performance.now() - at);
    });
  const speak = (): void => {
    for (let pair = 0; pair < TALKERS; pair += 1) {
      const body = String((said += 1));
      spoken.sent += 1;
      spoken.at.set(body, performance.now());
      sessions[pair]?.say(scene.address(names[pair + TALKERS] ?? ''), body);
    }
  };
  const write = (): void => writer?.say(scene.address(absent), `${LETTER}${(letters.sent += 1)}`);
  let speaking = setInterval(speak, TALK_EVERY_MS);
  const writing = setInterval(write, LETTER_EVERY_MS);
  return {
    async heard() {
      clearInterval(speaking);
      const late = performance.now() + LAST_WORD_MS;
      while (spoken.at.size > 0 && performance.now() < late) await setTimeout(LOOK_EVERY_MS);
      const { sent, at, delaysMs } = spoken;
      spoken = { sent: 0, at: new Map(), delaysMs: [] };
      speaking = setInterval(speak, TALK_EVERY_MS);
      return { sent, lost: at.size, delaysMs };
    },
    async letters(at) {
      clearInterval(writing);
      const home = await scene.enter(absent, at);
      home.onBody((body) => {
        if (body.startsWith(LETTER)) letters.kept += 1;
      });
      await setTimeout(KEPT_MS);
      home.leave();
      return letters;
    },
    end() {
      clearInterval(speaking);
      clearInterval(writing);
      sessions.forEach((session) => session.leave());
    },
  };
}
