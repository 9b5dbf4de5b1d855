import type { StoredWatch } from '../../activities/probes/watch/stored.ts';
import type { HalfStatus } from '../../ops/cli/status-half.ts';
import { peerStatus, type PeerStatus } from '../../ops/cli/status-peer.ts';
import type { SiteStatus } from '../../ops/cli/status.ts';

/** What a screen of customer x is made of. */

export const half = (name: string, servedAt: string, state: HalfStatus['state'] = 'protected'): HalfStatus => ({
  customer: 'x',
  half: name,
  servedAt,
  servedSince: null,
  state,
  point: null,
  ageMs: null,
  rpoMs: 1,
  unprotectedSince: null,
  suspect: null,
  checks: [],
  quarantined: [],
});

export const site = (name: string, temporal: SiteStatus['temporal']): SiteStatus => ({
  site: name,
  temporal,
  failover: null,
  kind: null,
  asks: false,
  next: null,
  waiting: null,
  stranded: [],
  nextTest: null,
  cleans: true,
});

export const SEEN_AT = '2026-01-01T00:00:00.000Z';

export const seen = (
  peer: string,
  verdict: StoredWatch['verdict'],
  { ageMs = 5000, saw = 'unreachable' }: { ageMs?: number; saw?: StoredWatch['observers'][number]['saw'] } = {},
): PeerStatus =>
  peerStatus(peer, {
    peer,
    verdict,
    since: SEEN_AT,
    silentSince: null,
    at: SEEN_AT,
    ageMs,
    observers: [{ name: 'database', saw }],
  });
