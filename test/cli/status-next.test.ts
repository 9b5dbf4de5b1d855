import { describe, expect, it } from 'vitest';
import type { Waiting } from '../../ops/cli/as-planned.ts';
import { nextOf } from '../../ops/cli/status-next.ts';
import type { PeerStatus } from '../../ops/cli/status-peer.ts';
import type { SiteStatus } from '../../ops/cli/status.ts';
import { half, seen, SEEN_AT, site } from './status-world.ts';

/** The one line that an operator reads last. */

const quiet = [half('east', 'east'), half('west', 'west')];
const [answers, silent] = [site('west', 'answers'), site('east', 'silent')];

describe('what comes next', () => {
  it('is the plan of a failover when a site that serves users is silent, before the protection of the other half', () => {
    const lost = [half('east', 'east'), half('west', 'west', 'UNPROTECTED')];
    expect(nextOf({ halves: lost, sites: [silent, answers] })).toEqual({
      exit: 1,
      next: 'tandem failover plan --customer x --from east',
      line: null,
    });
  });

  it('is no failover when both sites are silent: nobody declares one by his own broken line', () => {
    const both = [silent, site('west', 'silent')];
    expect(nextOf({ halves: quiet, sites: both })).toEqual({ exit: 0, next: null, line: null });
  });

  it('is no failover either once the users are served elsewhere: the lost site is waited for', () => {
    const moved = [half('east', 'west', 'UNPROTECTED'), half('west', 'west', 'UNPROTECTED')];
    expect(nextOf({ halves: moved, sites: [silent, answers] })).toEqual({
      exit: 1,
      next: null,
      line: 'east: protected again when east is back, and has a snapshot of west.',
    });
  });

  it('is a snapshot for a half without one, and nothing when all is well', () => {
    const sites = [site('east', 'answers'), answers];
    expect(nextOf({ halves: [half('east', 'east', 'UNPROTECTED')], sites }).next).toBe(
      'tandem snapshot now --site east --customer x',
    );
    expect(nextOf({ halves: quiet, sites })).toEqual({ exit: 0, next: null, line: null });
  });

  const start = `tandem failover start --customer x --from east --reason TEXT --requested-by ID --disrupted-at ${SEEN_AT}`;
  it.each<[string, PeerStatus[], string | null]>([
    ['the start of one when its peer’s watch found it dead', [seen('east', 'dead')], start],
    ['none by a watch that has stopped', [seen('east', 'dead', { ageMs: 200_000 })], null],
    ['none when each site says so of the other', [seen('east', 'dead'), seen('west', 'dead')], null],
    ['none while it serves', [seen('east', 'serving'), seen('west', 'serving')], null],
  ])('is %s', (_, peers, next) => {
    const of = { customer: 'x', closed: null };
    const services = peers.map((peer) => ({ ...of, site: peer.peer === 'east' ? 'west' : 'east', peer }));
    const sites = [site('east', 'answers'), answers];
    expect(nextOf({ halves: quiet, sites, services }).next).toBe(next);
    // Once its users are served by the other site, nobody has to be taken over.
    const moved = [half('east', 'west'), half('west', 'west')];
    expect(nextOf({ halves: moved, sites, services: services.filter((s) => s.site === 'west') }).next).toBeNull();
  });
});

describe('a site that is lost', () => {
  const peer = (of: PeerStatus) => [{ customer: 'x', closed: null, site: 'west', peer: of }];
  const sites = [site('east', 'answers'), answers];
  const waiting: Waiting = { kind: 'relocate', customer: 'x', half: 'west', from: 'west', to: 'east' };
  const move = (kind: SiteStatus['kind']): SiteStatus => ({
    ...answers,
    kind,
    asks: true,
    next: `tandem ${kind} watch`,
    ...(kind === 'relocate' && { waiting }),
  });

  it('goes before a planned move that waits for signatures, and not before a failover that is under way', () => {
    const dead = peer(seen('east', 'dead'));
    expect(nextOf({ halves: quiet, sites: [site('east', 'answers'), move('relocate')], services: dead }).next).toMatch(
      /^tandem failover start .*--from east/,
    );
    expect(nextOf({ halves: quiet, sites: [silent, move('relocate')] }).next).toMatch(/^tandem failover plan/);
    expect(nextOf({ halves: quiet, sites: [silent, move('failover')], services: dead }).next).toBe(
      'tandem failover watch',
    );
    const serves = peer(seen('east', 'serving', { saw: 'serving' }));
    expect(nextOf({ halves: quiet, sites: [silent, move('relocate')], services: serves }).next).toBe(
      'tandem relocate watch',
    );
  });

  it('that had users of both homes is taken over from half by half, its own users first', () => {
    const both = [half('west', 'east'), half('east', 'east')];
    const { next, after } = nextOf({ halves: both, sites, services: peer(seen('east', 'dead')) });
    expect(next).not.toContain('--half');
    expect(after).toContain('--from east --half west ');
  });

  it('is not one to which users have just come home, whatever was seen of it before', () => {
    const home = { ...half('east', 'east', 'UNPROTECTED'), servedSince: '2026-01-01T00:00:05.000Z' };
    const snapshot = 'tandem snapshot now --site east --customer x';
    for (const saw of ['closed', 'answers'] as const)
      expect(nextOf({ halves: [home], sites, services: peer(seen('east', 'unknown', { saw })) }).next).toBe(snapshot);
    // The verdict follows some looks later than the first one that sees it serve.
    const seenSince = { ...home, servedSince: '2025-12-31T23:59:55.000Z' };
    const first = peer(seen('east', 'unknown', { saw: 'serving' }));
    expect(nextOf({ halves: [seenSince], sites, services: first }).next).toBe(snapshot);
  });
});

describe('an overdue continuity test', () => {
  const standing = {
    counts: 'isolated',
    passed: null,
    due: '2027-01-01T00:00:00.000Z',
    state: 'overdue',
    because: '',
  } as const;

  it('is held next when nothing else is to be done; one that runs is looked at', () => {
    const tests = { standing, running: [], at: 'west', cohort: null };
    const next = 'tandem test start --customer x --site west';
    expect(nextOf({ halves: quiet, sites: [answers], tests })).toEqual({ exit: 3, next, line: null });
    const open = [half('east', 'east', 'UNPROTECTED')];
    expect(nextOf({ halves: open, sites: [answers], tests }).next).toBe('tandem snapshot now --site east --customer x');
    expect(nextOf({ halves: quiet, sites: [answers], tests: { ...tests, running: [{} as never] } }).next).toBe(
      'tandem test list --customer x',
    );
  });

  it('is a live one where those are what counts, told a month before, with a cohort by which services are looked at', () => {
    const live = { ...standing, counts: 'live' as const };
    const tests = { standing: live, running: [], at: 'west', cohort: 'pilot' };
    const next = 'tandem test start --customer x --site west --kind live --cohort pilot';
    expect(nextOf({ halves: quiet, sites: [answers], tests })).toMatchObject({ exit: 3, next });
    const soon = { ...tests, standing: { ...live, state: 'soon' as const } };
    expect(nextOf({ halves: quiet, sites: [answers], tests: soon })).toMatchObject({ exit: 0, next });
  });
});

describe('a live test', () => {
  const of = (next: string) => ({ standing: null, running: [{ next } as never], at: 'west', cohort: null });
  const approve = 'tandem relocate approve --customer x';
  const moving = { ...answers, kind: 'relocate' as const, next: approve, asks: true };

  it('says what its users wait for; of a move under way that has its own word, and none that is to be ended is signed', () => {
    const start = 'tandem relocate start --customer x --half east/pilot --to west';
    expect(nextOf({ halves: quiet, sites: [answers], tests: of(start) })).toMatchObject({ exit: 3, next: start });
    const watch = 'tandem relocate watch --customer x --site east';
    expect(nextOf({ halves: quiet, sites: [answers], tests: of(watch) })).toMatchObject({ exit: 0, next: watch });
    expect(nextOf({ halves: quiet, sites: [moving], tests: of(watch) }).next).toBe(approve);
    const abort = 'tandem relocate abort --customer x --site east';
    expect(nextOf({ halves: quiet, sites: [moving], tests: of(abort) })).toMatchObject({ exit: 3, next: abort });
  });
});
