import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  healthy,
  nursed,
  settlings,
  unwatched,
  watched,
  type Verdict,
  type Watch,
} from '../../workflows/model/watch.ts';
import {
  isNews,
  knowing,
  newsOf,
  nextCommand,
  roomFor,
  toTell,
  type Known,
  type Standing,
} from '../../workflows/model/watch-news.ts';

const letters: Record<string, Verdict> = { s: 'serving', u: 'unknown', d: 'dead' };
const at = (n: number): string => new Date(Date.UTC(2026, 0, 1) + n * 10_000).toISOString();
/** A look each ten seconds: s, u, d; the client port is silent in those in capitals. */
const after = (looks: string, before: Watch = unwatched): Watch =>
  Array.from(looks).reduce(
    (watch, letter, i) =>
      watched(watch, {
        at: at(i),
        verdict: letters[letter.toLowerCase()] ?? 'unknown',
        clients: letter === letter.toLowerCase() ? 'answers' : 'silent',
      }),
    before,
  );
const settledBy = (looks: string): (Verdict | null)[] =>
  Array.from(looks, (_, i) => after(looks.slice(0, i + 1)).settled);

describe('a verdict is never settled', () => {
  it.each([
    ['ss', null],
    ['dd', null],
    ['uuuuu', null],
    ['sssdd', 'serving'],
    ['sssddsdds', 'serving'],
    ['sssuuuuusuuuuu', 'serving'],
    ['dddss', 'dead'],
    ['dddssdss', 'dead'],
    ['ddduuuuud', 'dead'],
    ['uuuuuussuss', 'unknown'],
  ])('by looks that stutter: %s leaves %s', (looks, settled) => {
    expect(after(looks).settled).toBe(settled);
  });
});

describe('a verdict is settled', () => {
  it.each([
    ['sss', 'serving', 0],
    ['ddd', 'dead', 0],
    ['sssddd', 'dead', 3],
    // Some of it is silent at once, the beats a minute later: since the first look that failed.
    ['sssuuuuuu', 'unknown', 3],
    ['sssuuuuuuddd', 'dead', 3],
    ['sssududud', 'unknown', 3],
    ['dddsss', 'serving', 3],
    ['dddsuduuusuu', 'unknown', 0],
    ['dddsddd', 'dead', 0],
  ])('after so many in a row: %s is %s, since look %i', (looks, settled, since) => {
    const watch = after(looks);
    expect(watch.settled).toBe(settled);
    expect(watch.since).toBe(at(since));
  });

  it('by a rule of the table, whose looks were there, and each rule can be what settles it', () => {
    expect(['ddd', 'sss', 'uuuuuu', 'ddduuuuuu'].map((looks) => after(looks).because)).toEqual(
      settlings.map(({ because }) => because),
    );
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('s', 'u', 'd'), maxLength: 30 }), (looks) => {
        let before: Verdict | null = null;
        for (const [i, now] of settledBy(looks).entries()) {
          if (now === before) continue;
          const rule = settlings.find((r) => r.from.includes(before) && r.to === now);
          if (!rule) throw new Error(`${String(before)} became ${String(now)}: ${looks}`);
          expect(
            Array.from(looks.slice(i + 1 - rule.looks, i + 1)).every((l) => rule.saw.includes(letters[l] ?? 'dead')),
          ).toBe(true);
          before = now;
        }
      }),
      { numRuns: 500 },
    );
  });

  it('never later than six looks after they have all begun to say the same', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('s', 'u', 'd'), maxLength: 20 }),
        fc.constantFrom('s', 'u', 'd'),
        (looks, last) => after(looks + last.repeat(6)).settled === letters[last],
      ),
    );
  });
});

describe('the silence of the client port', () => {
  it('begins with the first look of the run that never recovered, and ends with an answer', () => {
    expect(after('sssUUUUUU').silentSince).toBe(at(3));
    expect(after('sssUuUUU').silentSince).toBe(at(5));
    expect(after('sssUUUu').silentSince).toBeNull();
  });
});

describe('a part of this site', () => {
  const nurse = (looks: string): ReturnType<typeof nursed> =>
    Array.from(looks).reduce((h, l, i) => nursed(h, l === 'x' ? `gone ${i}` : null, at(i)), healthy);
  it('is ill after a minute of silence, since it began, and well after half a minute of answers', () => {
    expect(nurse('xxxxx').ill).toBe(false);
    expect(nurse('xxxxx.x').ill).toBe(false);
    expect(nurse('.xxxxxx')).toMatchObject({ ill: true, since: at(1), because: 'gone 6' });
    expect(nurse('xxxxxx..x..')).toMatchObject({ ill: true, since: at(0) });
    expect(nurse('xxxxxx...')).toEqual(healthy);
  });
});

const standing = (change: Partial<Standing> = {}): Standing => ({
  customer: 'acme',
  site: 'east',
  peer: 'west',
  watch: after('sss'),
  observers: [{ name: 'database', saw: 'unreachable' }],
  because: { database: 'connection refused' },
  peerServes: true,
  health: {},
  closedBy: null,
  fork: null,
  ...change,
});

describe('what people are told', () => {
  it('is once for each value, also by a worker that starts, and nothing while all is as ever', () => {
    expect(toTell({}, newsOf(standing()))).toEqual([]);
    const dead = newsOf(standing({ watch: after('sssDDD') }));
    const told = knowing({}, dead);
    expect(toTell({}, dead).map(({ about, value, severity }) => [about, value, severity])).toEqual([
      ['peer', 'dead', 'critical'],
    ]);
    expect(toTell(told, dead)).toEqual([]);
    // One that has just started has settled nothing yet: that is no news.
    const fresh = newsOf(standing({ watch: unwatched }));
    expect([isNews(told, fresh), toTell(knowing(told, fresh), dead)]).toEqual([false, []]);
    expect(toTell(told, newsOf(standing())).map(({ value }) => value)).toEqual(['serving']);
  });

  it('ends in the next command, with its real options', () => {
    const seconds = `--disrupted-at ${at(3)}`;
    const about = '--customer acme --from west';
    expect(nextCommand(standing({ watch: after('sssDDD') }))).toBe(
      `tandem failover start ${about} --reason TEXT --requested-by ID ${seconds}`,
    );
    expect(nextCommand(standing({ watch: after('sssUUUUUU') }))).toBe(
      `tandem failover start ${about} --reason TEXT --requested-by ID --isolation TEXT ${seconds}`,
    );
    const answers = [{ name: 'api', saw: 'answers' as const }];
    expect(nextCommand(standing({ watch: after('sssUUUUUU'), observers: answers }))).toBe(
      `tandem failover plan ${about} ${seconds}`,
    );
    // Whoever serves everybody has nobody to take over.
    expect(nextCommand(standing({ watch: after('sssDDD'), peerServes: false }))).toBeNull();
    const [news] = newsOf(standing({ watch: after('sssDDD') }));
    expect(news?.text).toMatch(
      /^Verdict: dead, since .*: three looks .*\nSeen from east: database unreachable \(conn.*\nNext: tandem failover start/,
    );
  });

  it('is at most four times an hour about one thing, then that it flaps, then nothing until the hour is over', () => {
    let sent: readonly number[] = [];
    const said: string[] = [];
    for (let minute = 0; minute < 60; minute += 5) {
      const room = roomFor(sent, minute * 60_000);
      said.push(room.may);
      sent = room.may === 'wait' ? room.sent : [...room.sent, minute * 60_000];
    }
    const pages = ['page', 'page', 'page', 'page', 'say-that-it-flaps'];
    expect(said).toEqual([...pages, ...Array<string>(7).fill('wait')]);
    expect(roomFor(sent, 30 * 60_000).waitMs).toBe(30 * 60_000);
    expect(roomFor(sent, 60 * 60_000).may).toBe('say-that-it-flaps');
    expect(roomFor(sent, 81 * 60_000).may).toBe('page');
  });

  it('tells a newer epoch that this site obeyed, each once', () => {
    const closedBy = { number: 7, site: 'west', move: 'm', at: at(0), serviceClosedAt: null };
    const seven = newsOf(standing({ closedBy }));
    const told: Known = knowing({}, seven);
    expect(toTell({}, seven)[0]?.subject).toBe('acme: this site, east, is CLOSED: west has claimed epoch 7');
    expect(toTell(told, newsOf(standing({ closedBy: { ...closedBy, serviceClosedAt: at(1) } })))).toEqual([]);
    expect(toTell(told, newsOf(standing()))).toEqual([]);
    expect(toTell(told, newsOf(standing({ closedBy: { ...closedBy, number: 9 } })))).toHaveLength(1);
  });
});
