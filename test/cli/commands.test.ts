import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { misfitOf, type World } from '../../ops/cli/as-planned.ts';
import { openCommand, pickCommand } from '../../ops/cli/closed-lines.ts';
import { nextOf } from '../../ops/cli/status-next.ts';
import { verbs } from '../../ops/cli/program.ts';
import { takeOverCommand, type StrandedMove } from '../../ops/stranded.ts';
import { moveCommand, type FailoverStatus } from '../../workflows/model/moves.ts';
import { askedOf } from '../../workflows/model/test-live.ts';
import { newsOf } from '../../workflows/model/watch-news.ts';
import { testNews } from '../../workflows/model/test-news.ts';
import { glassText, pageText } from '../../workflows/move/page-text.ts';
import { faultOf, helpOfAll, unknownIn } from './commands.ts';
import { kinds, situations, statusAt, watchStanding } from './situations.ts';
import { half, seen, site } from './status-world.ts';

/** Whatever is printed as the next command is typed as it stands, at night: with the values put in, it must be one. */

const commandsIn = (text: string): string[] =>
  [...text.matchAll(/^(?:Next|Then|Stop it|Sign it): (tandem .*)$/gm)].map(([, c]) => c ?? '');

/** Of a live test, wherever its users are. */
function liveTestCommands(): string[] {
  const [cohort, customer] = ['east/pilot', 'x'];
  const stand = { site: 'east', between: false, move: 'm', silent: null };
  const moving = { move: 'r', kind: 'relocate', half: cohort, to: 'west', phase: 'moving', handed: false, at: 'east' };
  const moves = [null, ...[true, false].map((claimed) => ({ ...moving, claimed }))];
  return ['east', 'west'].flatMap((to) =>
    [{ ...stand, moving: null, site: 'west' }, ...moves.map((m) => ({ ...stand, moving: m }))].flatMap(
      (one) => askedOf({ customer, cohort, to }, one).next ?? [],
    ),
  );
}

describe('the next command', () => {
  it('of a move is one, whatever it waits for, on each screen and page', async () => {
    const lines = new Set<string>();
    for (const kind of kinds)
      for (const change of Object.values(situations)) {
        const s = statusAt(kind, change);
        if (s.next !== null) lines.add(s.next);
        for (const line of commandsIn(pageText(s, 'news'))) lines.add(line);
      }
    for (const line of commandsIn(glassText(statusAt('failover'), 'al', 'fire'))) lines.add(line);
    for (const line of lines) expect([line, await faultOf(line)]).toEqual([line, null]);
    expect(lines.size).toBeGreaterThan(25);
  });

  it('of the status is one, of whatever stands in it', async () => {
    const sites = [site('east', 'answers'), site('west', 'answers')];
    const quiet = [half('east', 'east'), half('west', 'west')];
    const both = [half('east', 'east'), half('west', 'east')];
    const of = { customer: 'x', closed: null, site: 'west' };
    const dead = [{ ...of, peer: seen('east', 'dead') }];
    const suspect = { seq: 3, site: 'west', because: 'half of it is gone' };
    const check = { vault: 'west', damaged: [{}], checkedAt: null } as never;
    const stranded = { customer: 'x', workflowId: 'relocate/x', runId: 'r', build: 'b', reason: 'no-worker' } as const;
    const standing = { counts: 'isolated', passed: null, due: '', state: 'overdue', because: '' } as const;
    const situationsOfStatus: Parameters<typeof nextOf>[0][] = [
      { halves: quiet, sites, services: [{ ...of, peer: seen('east', 'serving'), fork: {} as never }] },
      { halves: quiet, sites, services: [{ ...of, peer: seen('east', 'serving'), closed: {} as never }] },
      { halves: quiet, sites, services: dead },
      { halves: both, sites, services: dead },
      { halves: both, sites, services: [{ ...of, peer: seen('east', 'unknown') }] },
      { halves: quiet, sites: [site('east', 'silent'), site('west', 'answers')] },
      { halves: both, sites: [site('east', 'silent'), site('west', 'answers')] },
      { halves: quiet, sites: [{ ...site('east', 'answers'), stranded: [stranded] }] },
      { halves: [{ ...half('east', 'east'), suspect }], sites },
      { halves: [{ ...half('east', 'east'), checks: [check] }], sites },
      { halves: [half('east', 'east', 'UNPROTECTED')], sites },
      { halves: [half('east', 'east', 'UNPROTECTED')], sites: [site('east', 'silent'), site('west', 'silent')] },
      { halves: [{ ...half('east', 'east'), quarantined: [{ site: 'west', users: 2 }] }], sites },
      { halves: quiet, sites, tests: { standing, running: [], at: 'west', cohort: null } },
      { halves: quiet, sites, tests: { standing, running: [{} as never], at: 'west', cohort: null } },
      {
        halves: quiet,
        sites,
        tests: { standing: { ...standing, counts: 'live' }, running: [], at: 'west', cohort: null },
      },
    ];
    for (const one of situationsOfStatus) {
      const { next, after } = nextOf(one);
      expect(next).not.toBeNull();
      for (const line of [next ?? '', after ?? next ?? '']) expect([line, await faultOf(line)]).toEqual([line, null]);
    }
  });

  it('of what the watch, a test, a fork and a build that is gone tell is one', async () => {
    const lines = [
      ...(['serving', 'unknown', 'dead'] as const).flatMap((settled) =>
        newsOf(watchStanding({ settled })).flatMap(({ text }) => commandsIn(text)),
      ),
      ...(['overdue', 'in-time', 'soon'] as const).flatMap((state) =>
        (['isolated', 'live'] as const).flatMap((counts) =>
          commandsIn(testNews('x', 'west', { state, due: null, because: 'b', counts }).text),
        ),
      ),
      ...liveTestCommands(),
      pickCommand('x'),
      openCommand('east', 'x', { kind: 'witness' } as never),
      takeOverCommand({ customer: 'x', workflowId: 'failover/x' } as StrandedMove, 'west'),
    ];
    for (const line of lines) expect([line, await faultOf(line)]).toEqual([line, null]);
  });

  it('is told to be none where it lacks something, or is misspelt', async () => {
    expect(await faultOf('tandem failover retry --customer x --site west --operator ID --key FILE')).toBe(
      'lacks --step',
    );
    expect(await faultOf('tandem failover watch --customer x')).toBe('lacks --site');
    expect(await faultOf('tandem relocate start --customer x --reason TEXT --requested-by ID')).toMatch(/--to/);
    expect(await faultOf('tandem relocate aprove')).toMatch(/unknown command|too many/);
    expect(await unknownIn('tandem failover report --of x')).toBe('report has no --of');
  });
});

describe('a planned move that waits for signatures', () => {
  const waiting = { kind: 'relocate', customer: 'x', half: 'west', from: 'west', to: 'east' } as const;
  const row = (of: string, at: string, epoch = 3) => ({
    half: of,
    site: at,
    epoch,
    at: new Date(0),
    database: at,
    held: 0,
    open: true,
  });
  const serving = [row('west', 'west'), row('east', 'east')];
  const peer = (verdict: 'serving' | 'unknown' | 'dead', saw: 'serving' | 'closed' | 'unreachable') => ({
    peer: 'east',
    verdict,
    since: '2030-01-01T00:00:00.000Z',
    observers: [{ name: 'database', saw }],
  });
  const { observers } = peer('serving', 'serving');
  const world = (change: Partial<World>): World => ({
    serving,
    peers: [peer('serving', 'serving')],
    others: [],
    ...change,
  });

  it('is not signed once its destination is gone, its users are elsewhere, or the other site has a move', async () => {
    expect(misfitOf(waiting, world({}))).toBeNull();
    const cases: [Partial<World>, RegExp, RegExp][] = [
      [{ peers: [peer('dead', 'unreachable')] }, /east is DEAD, since 2030/, /^tandem failover start .*--from east /],
      [{ peers: [peer('unknown', 'unreachable')] }, /answers nobody/, /^tandem failover start .*--isolation TEXT/],
      [
        { serving: [...serving, row('west', 'east', 4)] },
        /served at east by now, under epoch 4/,
        /^tandem relocate abort/,
      ],
      [{ others: ['a failback'] }, /at east a failback is live/, /^tandem relocate abort/],
      [{ serving: [row('west', 'west')], peers: [peer('dead', 'unreachable')] }, /DEAD/, /^tandem relocate abort/],
    ];
    const part = {
      ...peer('serving', 'serving'),
      observers: [...observers, { name: 'vault', saw: 'unreachable' as const }],
    };
    expect(misfitOf(waiting, world({ peers: [part] }))).toBeNull();
    expect(misfitOf(waiting, world({ peers: [{ ...part, fresh: true }] }))?.because).toBe(
      'of east these do not answer: vault',
    );
    for (const [change, because, next] of cases) {
      const misfit = misfitOf(waiting, world(change));
      expect(misfit?.because).toMatch(because);
      expect(misfit?.next).toMatch(next);
      expect(await faultOf(misfit?.next ?? '')).toBeNull();
    }
    // Users are brought home to a site that came back: it answers, and serves nobody yet.
    expect(misfitOf(waiting, world({ serving: [row('west', 'west')], peers: [peer('unknown', 'closed')] }))).toBeNull();
  });
});

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Commands that a source text names, each value put into it as X; `printed`: as the whole of what comes next. */
function* named(source: string): Generator<{ line: string; printed: boolean }> {
  const text = source.replaceAll(/^\s*(\/\/|\/?\*).*$/gm, '');
  for (const { index, 1: verb = '' } of text.matchAll(/tandem ([a-z-]+)/g)) {
    // Schema and programs have the same name: a word that is no verb counts where a command is quoted.
    if (!Object.hasOwn(verbs, verb) && !/[\\']`$/.test(text.slice(0, index))) continue;
    let line = '';
    for (let i = index; i < text.length && !/[`'\n;,)]/.test(text[i] ?? '') && text[i] !== '\\'; i += 1) {
      if (text.startsWith('${', i)) {
        const start = i;
        let depth = 0;
        do {
          if (text[i] === '{') depth += 1;
          if (text[i] === '}') depth -= 1;
          i += 1;
        } while (depth > 0 || text[i - 1] !== '}');
        i -= 1;
        line += / \? /.test(text.slice(start, i)) ? '' : 'X';
      } else line += text[i] ?? '';
    }
    const before = text.slice(0, index);
    yield {
      line: line.replace(/[.:?]$/, ''),
      printed: /out\.next\(\s*(?:[^;`']*\? )?[`']$/.test(before) && !/ X( X|$)/.test(line),
    };
  }
}

it('every command that any text names has its verb and its options', async () => {
  const wrong: string[] = [];
  let all = 0;
  for (const folder of ['ops', 'workflows', 'activities'])
    for (const file of await readdir(join(root, folder), { recursive: true }))
      if (file.endsWith('.ts'))
        for (const { line, printed } of named(await readFile(join(root, folder, file), 'utf8'))) {
          all += 1;
          const why = (await unknownIn(line)) ?? (printed ? await faultOf(line) : null);
          if (why !== null) wrong.push(`${folder}/${file}: ${line}: ${why}`);
        }
  expect(wrong).toEqual([]);
  expect(all).toBeGreaterThan(150);
});

it('every verb says how it is used, and what each of its options means', async () => {
  const all = await helpOfAll();
  expect(all.length).toBeGreaterThan(80);
  for (const [command, help] of all) {
    expect(help.startsWith(`Usage: ${command} `)).toBe(true);
    expect([command, /^ {2}--?\S+( <[^>]+>)?$/m.exec(help)?.[0]]).toEqual([command, undefined]);
  }
});

it('a verb of a move names its site as soon as that is known, and its report none: either vault has it', () => {
  const move = { customer: 'x', from: 'east', to: null } as Pick<FailoverStatus, 'customer' | 'from' | 'to'>;
  expect(moveCommand(move, 'watch')).toBe('tandem failover watch --customer x');
  expect(moveCommand({ ...move, to: 'west' }, 'watch')).toBe('tandem failover watch --customer x --site west');
  expect(moveCommand({ ...move, to: 'west', kind: 'failback' }, 'abort')).toBe(
    'tandem failback abort --customer x --site east',
  );
  expect(moveCommand({ ...move, to: 'west' }, 'report')).toBe('tandem failover report --customer x');
});
