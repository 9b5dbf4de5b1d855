import { describe, expect, it } from 'vitest';
import type { HalfStatus } from '../../ops/cli/status-half.ts';
import type { SiteStatus } from '../../ops/cli/status.ts';
import { nextOf } from '../../ops/cli/status-next.ts';
import type { StoredWatch } from '../../activities/probes/watch/stored.ts';
import { peerStatus, type PeerStatus } from '../../ops/cli/status-peer.ts';

/** The one line that an operator reads last. */

const half = (name: string, servedAt: string, state: HalfStatus['state'] = 'protected'): HalfStatus => ({
  customer: 'x',
  half: name,
  servedAt,
  state,
  point: null,
  ageMs: null,
  rpoMs: 1,
  unprotectedSince: null,
  suspect: null,
  checks: [],
  quarantined: [],
});
const site = (name: string, temporal: SiteStatus['temporal']): SiteStatus => ({
  site: name,
  temporal,
  failover: null,
  asks: false,
  next: null,
  stranded: [],
  nextTest: null,
  cleans: true,
});
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
      'tandem snapshot now --site east',
    );
    expect(nextOf({ halves: quiet, sites })).toEqual({ exit: 0, next: null, line: null });
  });

  const seen = (peer: string, verdict: StoredWatch['verdict'], ageMs = 5000): PeerStatus => {
    const at = '2026-01-01T00:00:00.000Z';
    const observers = [{ name: 'database', saw: 'unreachable' as const }];
    return peerStatus(peer, { peer, verdict, since: at, silentSince: null, at, ageMs, observers });
  };
  const start = `tandem failover start --customer x --from east --reason TEXT --requested-by ID --disrupted-at 2026-01-01T00:00:00.000Z`;
  it.each<[string, PeerStatus[], string | null]>([
    ['the start of one when its peer’s watch found it dead', [seen('east', 'dead')], start],
    ['none by a watch that has stopped', [seen('east', 'dead', 200_000)], null],
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

describe('an overdue continuity test', () => {
  const standing = {
    counts: 'isolated',
    passed: null,
    due: '2027-01-01T00:00:00.000Z',
    state: 'overdue',
    because: '',
  } as const;

  it('is held next when nothing else is to be done; one that runs is looked at', () => {
    const tests = { standing, running: [], at: 'west' };
    const next = 'tandem test start --customer x --site west';
    expect(nextOf({ halves: quiet, sites: [answers], tests })).toEqual({ exit: 3, next, line: null });
    const open = [half('east', 'east', 'UNPROTECTED')];
    expect(nextOf({ halves: open, sites: [answers], tests }).next).toBe('tandem snapshot now --site east');
    expect(nextOf({ halves: quiet, sites: [answers], tests: { ...tests, running: [{} as never] } }).next).toBe(
      'tandem test list --customer x',
    );
  });

  it('is no command where the customer counts live ones only: none can be held yet', () => {
    const tests = { standing: { ...standing, counts: 'live' as const }, running: [], at: 'west' };
    expect(nextOf({ halves: quiet, sites: [answers], tests })).toMatchObject({ exit: 3, next: null });
  });
});
