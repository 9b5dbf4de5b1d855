import { describe, expect, it } from 'vitest';
import type { ServingRow } from '../../ops/cli/serving-rows.ts';
import { halfStatus, unprotectedLine, type Seen } from '../../ops/cli/status-half.ts';
import { peerLine, peerStatus } from '../../ops/cli/status-peer.ts';
import type { Direction } from '../../ops/coverage.ts';

/** West took east's users over at 12:00; east was lost at 11:58, and comes back. */

const customer = { id: 'x', objectives: { rpoMs: 8 * 3_600_000, rtoMs: 24 * 3_600_000 } };
const day = new Date().toISOString().slice(0, 10);
const at = (time: string): string => `${day}T${time}.000Z`;
const row = (database: string, site: string, epoch: number, time: string): ServingRow => ({
  half: 'east',
  site,
  epoch,
  at: new Date(at(time)),
  database,
  held: 0,
  open: true,
});
const covered = (site: string, time: string): Direction => ({
  customer: 'x',
  site,
  newest: null,
  covered: {
    format: 1,
    snapshot: { customer: 'x', site, gen: 1, seq: 1 },
    manifest: '',
    point: at(time),
    site: '',
    verifiedAt: at(time),
    counts: { users: 1, contacts: 0, groups: 0, lists: 0, aclItems: 0, defaults: 0 },
  },
  suspect: null,
  checks: [],
  peerAnswers: true,
});
const lost: Seen['services'] = [
  {
    site: 'west',
    peer: peerStatus('east', {
      peer: 'east',
      verdict: 'dead',
      since: at('11:59:00'),
      silentSince: at('11:58:00'),
      at: at('12:30:00'),
      ageMs: 0,
      observers: [],
    }),
  },
];
const seen = (change: Partial<Seen>): Seen => ({ serving: [], covered: [], services: [], ...change });
const moved = row('west', 'west', 2, '12:00:00');

describe('users who were moved', () => {
  it('are unprotected since then, whatever was covered before', () => {
    const status = halfStatus(customer, 'east', seen({ serving: [moved], covered: [covered('west', '11:59:59')] }));
    expect(status).toMatchObject({ state: 'UNPROTECTED', servedAt: 'west', unprotectedSince: at('12:00:00') });
    expect(unprotectedLine(status)).toEqual([
      `UNPROTECTED since ${at('12:00:00')}: what the users of east have is at west alone`,
    ]);
  });

  it('are protected by what was covered since, also when the returned site learned of it only later', () => {
    const serving = [row('east', 'west', 2, '13:00:00'), moved, row('east', 'east', 1, '08:00:00')];
    const status = halfStatus(customer, 'east', seen({ serving, covered: [covered('west', '12:10:00')] }));
    expect(status).toMatchObject({ servedAt: 'west', point: at('12:10:00'), unprotectedSince: null });
    expect(status.state).not.toBe('UNPROTECTED');
    expect(unprotectedLine(status)).toEqual([]);
  });

  it('are unprotected at home again, until that is covered: what it had before it was lost is no copy of now', () => {
    const serving = [row('west', 'east', 3, '14:00:05'), row('east', 'east', 3, '14:00:00')];
    const old = halfStatus(customer, 'east', seen({ serving, covered: [covered('east', '11:50:00')] }));
    expect(old).toMatchObject({ state: 'UNPROTECTED', servedAt: 'east', unprotectedSince: at('14:00:00') });
    const now = halfStatus(customer, 'east', seen({ serving, covered: [covered('east', '14:00:02')] }));
    expect(now).toMatchObject({ point: at('14:00:02'), unprotectedSince: null });
  });
});

it('everybody is unprotected since the other site is away, which has the copy; while nobody knows that, since nobody knows when', () => {
  for (const half of ['east', 'west']) {
    const serving = [{ ...moved, half }];
    const status = halfStatus(customer, half, seen({ serving, services: lost }));
    expect(status).toMatchObject({ state: 'UNPROTECTED', unprotectedSince: at('11:58:00') });
    expect(halfStatus(customer, half, seen({ serving })).unprotectedSince).toBeNull();
  }
});

it('a site that came back is told as one that serves nobody, not as one that is lost', () => {
  const told = (saw: 'closed' | 'unreachable' | 'serving'): string =>
    peerLine(
      'west',
      peerStatus('east', {
        peer: 'east',
        verdict: 'unknown',
        since: at('12:00:00'),
        silentSince: null,
        at: at('12:30:00'),
        ageMs: 0,
        observers: [{ name: 'database', saw }],
      }),
    );
  expect(told('serving')).toContain('east serves, by the newest look');
  expect(told('closed')).toBe('PEER, seen at west: east answers, and serves nobody');
  expect(told('unreachable')).toBe(`PEER, seen at west: east is NOT SEEN TO SERVE, since ${at('12:00:00')}`);
});
