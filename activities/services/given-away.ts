import type { PoolClient } from 'pg';
import { failureText } from '../../workflows/model/failures.ts';
import type { RecoverySource } from '../../workflows/model/plan.ts';
import type { SnapshotId, SnapshotSummary, Timestamp } from '../../workflows/model/snapshots.ts';
import type { Database } from '../contacts/database.ts';
import { within } from '../probes/peer.ts';
import type { CustomerSettings } from '../settings.ts';
import { readManifest } from '../vault/open.ts';
import type { OwnSite } from './site.ts';

/** Halves that this site has handed over in a planned move, and the last that it knows of them. */
export interface GivenAway {
  /** Under which the peer was given it. */
  epoch: number;
  /** When, by this site's database, ms. */
  atMs: number;
  /** This site's own last snapshot, which holds what its users did here to the end. */
  snapshot: SnapshotId;
  manifest: string;
  /** All of the halves that were asked for are in it, as they were when they were handed over. */
  whole: boolean;
}

const VAULT_MS = 10_000;

/** In the transaction that hands the half over: by the snapshot for which the ledger's entries of this site's users stand. */
export async function noteGivenAway(
  client: PoolClient,
  { customer, half, epoch, copiedAt }: { customer: string; half: string; epoch: number; copiedAt: Timestamp | null },
): Promise<void> {
  await client.query(
    `insert into tandem.handed (customer, half, epoch, copied_at, gen, seq, manifest)
     select $1, $2, $3, $4, t.gen, t.seq, t.manifest
       from (select) one left join tandem.taken t on t.customer = $1
     on conflict (customer, half) do update set epoch = excluded.epoch, copied_at = excluded.copied_at,
       gen = excluded.gen, seq = excluded.seq, manifest = excluded.manifest, at = now()`,
    [customer, half, epoch, copiedAt],
  );
}

/** Of several the latest: snapshots of the peer from before that do not have all of them. Null when it never handed any of them over, or has got them back since. */
export async function givenAway(
  database: Database,
  { id, peer }: CustomerSettings,
  halves: readonly string[],
): Promise<GivenAway | null> {
  const rows = await database.query<{
    epoch: string;
    at: Date;
    gen: string;
    seq: string;
    manifest: string;
    own: string;
  }>(
    `select g.epoch::text, g.at, g.gen::text, g.seq::text, g.manifest, i.site as own
       from tandem.handed g
       join tandem.identity i on i.customer = g.customer
       join tandem.serving s on s.customer = g.customer and s.half = g.half and s.site = $3
      where g.customer = $1 and g.half = any($2) and g.manifest is not null
      order by g.epoch desc, g.at desc`,
    [id, halves, peer],
  );
  const [row] = rows;
  if (!row) return null;
  const { epoch, at, gen, seq, manifest, own } = row;
  const whole = rows.length === halves.length && rows.every((one) => one.manifest === manifest);
  const snapshot = { customer: id, site: own, gen: Number(gen), seq: Number(seq) };
  return { epoch: Number(epoch), atMs: at.getTime(), snapshot, manifest, whole };
}

type Found = { from: RecoverySource['from'] } & SnapshotSummary;

/** The last that this site knows of them, in its own vault; null when it is not there, and why is told. */
export async function asGivenAway(
  site: OwnSite,
  { id }: CustomerSettings,
  { snapshot, manifest, whole }: GivenAway,
  { latest, notTaken }: { latest: number; notTaken: { from: string; because: string }[] },
  signal: AbortSignal | undefined,
): Promise<Found | null> {
  const { publicKeys, site: own } = site.settings;
  const pass = (because: string): null => {
    notTaken.push({ from: `own snapshot ${snapshot.seq} of ${own}`, because });
    return null;
  };
  if (!whole)
    return pass(
      'these users were handed over one half after the other: each cohort is taken on its own first, with `--half`',
    );
  try {
    const read = (limit: AbortSignal) => readManifest({ vault: site.vault, id: snapshot, publicKeys, signal: limit });
    const found = await within(VAULT_MS, `vault of ${own}`, read, signal);
    if (found?.summary.manifest !== manifest) return pass(`${id}: the vault does not hold it`);
    if (Date.parse(found.summary.point) > latest) return pass('it is of a time after that');
    return { from: 'own-vault', ...found.summary };
  } catch (error) {
    signal?.throwIfAborted();
    return pass(failureText(error));
  }
}

/** From when on snapshots of the peer count; 0 when this site never handed the half over. */
interface Since {
  /** The epoch. */
  since: number;
  /** By this site's database: under the same epoch it had not served them before either. */
  sinceMs: number;
}

/** Whether a snapshot of the peer is from before it was given them. */
export const isOlder = (
  { epoch, point }: Pick<SnapshotSummary, 'epoch' | 'point'>,
  { since, sinceMs }: Since,
): boolean => epoch < since || (epoch === since && since > 0 && !(Date.parse(point) >= sinceMs));

export const olderText = ({ since }: Pick<Since, 'since'>): string =>
  `those it has are from before the hand-over under epoch ${since}`;
