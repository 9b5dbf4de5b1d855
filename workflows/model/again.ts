import type { SnapshotId, Timestamp } from './snapshots.ts';

/** Whoever was restored may be brought to another recovery point for so long after he was served again (DESIGN 4). */
export const AGAIN_MS = 3_600_000;

/** What a failover decides whose users this site serves already: nobody is set back for having been served since. */
export interface Again {
  /** Since when they are served here. */
  since: Timestamp;
  /** The snapshot that was brought last, in the vault that holds it. Null: no recovery point was asked for, and nobody's contacts are touched. */
  base: { snapshot: SnapshotId; manifest: string; from: 'own-vault' | 'peer-vault' } | null;
}

/** For whoever signs: what another recovery point means for users who are served. */
export const againText = (site: string, half: string, { since }: Again): string =>
  `${site} serves the users of ${half} since ${since}: what they have changed since stays, and so does whom they deny; all else of their contacts and block lists becomes that of the recovery point`;

/** The same where nothing is brought. */
export const asTheyStand = (site: string, half: string, { since }: Again): string =>
  `${site} serves the users of ${half} since ${since}: their contacts and block lists stay as they stand (\`--recovery-point TIME\` asks for others, within 60 min after that)`;
