import type { VaultCheck } from '../../workflows/model/checks.ts';
import { ageMs } from '../../workflows/model/snapshots.ts';
import { homeOf } from '../../workflows/model/half.ts';
import type { CustomerConfiguration } from '../config/configuration.ts';
import type { Direction } from '../coverage.ts';
import { newestRow, type ServingRow } from './serving-rows.ts';
import { newestByVault } from './status-checks.ts';
import type { ServiceStatus } from './status-service.ts';

export interface HalfStatus {
  customer: string;
  /** The users whose home is this site, or a cohort of them. */
  half: string;
  /** Where they are served, by the newest epoch that any site knows; null when no database answers. */
  servedAt: string | null;
  /** Since when they are, ISO 8601; null when no database answers. */
  servedSince: string | null;
  point: string | null;
  ageMs: number | null;
  rpoMs: number;
  state: 'protected' | 'UNPROTECTED' | 'BEYOND THE RPO';
  /** Since when they are unprotected, ISO 8601; null when they are not, or nobody can tell. */
  unprotectedSince: string | null;
  /** A newer snapshot that waits to be accepted: why, and where. */
  suspect: { seq: number; site: string; because: string } | null;
  /** Of each vault that answers: its newest check of these snapshots. */
  checks: VaultCheck[];
  /** Users who are not let in at a site until an operator decides; where they are not served, would not be. */
  quarantined: { site: string; users: number }[];
}

export interface Seen {
  serving: readonly ServingRow[];
  /** By whoever sees a copy itself. */
  covered: readonly Direction[];
  services: readonly Pick<ServiceStatus, 'site' | 'peer'>[];
}

/** Users are protected by snapshots of the site that serves them, taken since it does, and covered by its peer. */
export function halfStatus(
  customer: Pick<CustomerConfiguration, 'id' | 'objectives'>,
  half: string,
  { serving, covered, services }: Seen,
): HalfStatus {
  const says = serving.filter((r) => r.half === half);
  const row = newestRow(serving, half);
  const servedAt = row?.site ?? null;
  const since = row?.at.getTime() ?? 0;
  const directions = covered.filter(({ site }) => site === (servedAt ?? homeOf(half)));
  const point = directions
    .flatMap((d) => d.covered?.point ?? [])
    .filter((at) => Date.parse(at) >= since)
    .toSorted()
    .at(-1);
  const age = point === undefined ? null : ageMs(point, Date.now());
  const { rpoMs } = customer.objectives;
  const receipt = directions.find((d) => d.suspect)?.suspect;
  return {
    customer: customer.id,
    half,
    servedAt,
    servedSince: row?.at.toISOString() ?? null,
    point: point ?? null,
    ageMs: age,
    rpoMs,
    state: age === null ? 'UNPROTECTED' : age > rpoMs ? 'BEYOND THE RPO' : 'protected',
    unprotectedSince: age === null && row ? sinceWhen(row, directions, services) : null,
    suspect: receipt ? { seq: receipt.snapshot.seq, site: receipt.site, because: receipt.suspect ?? '' } : null,
    checks: newestByVault(directions.flatMap(({ checks }) => checks)),
    quarantined: says.flatMap(({ database, held }) => (held > 0 ? [{ site: database, users: held }] : [])),
  };
}

/** Nothing of now was ever covered; or what was is out of reach, since the other site is. Null while that is not settled. */
function sinceWhen(row: ServingRow, seen: readonly Direction[], services: Seen['services']): string | null {
  if (seen.length > 0) return row.at.toISOString();
  const watched = services.find(({ site }) => site === row.site)?.peer.watched;
  return !watched || watched.verdict === 'serving' ? null : (watched.silentSince ?? watched.since);
}

export const unprotectedLine = ({ half, servedAt, state, unprotectedSince }: HalfStatus): string[] =>
  state === 'UNPROTECTED' && unprotectedSince !== null
    ? [`UNPROTECTED since ${unprotectedSince}: what the users of ${half} have is at ${servedAt ?? homeOf(half)} alone`]
    : [];
