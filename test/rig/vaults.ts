import { randomBytes } from 'node:crypto';
import { inject } from 'vitest';
import type { VaultAccess } from '../../activities/settings.ts';
import type { VaultRole, VaultUser } from '../../ops/embedded/secrets.ts';
import { makeBucket, REGION } from '../../ops/embedded/vault.ts';
import { makeWitnessBucket } from '../../ops/embedded/witness.ts';

export interface ScratchVaults {
  east: VaultAccess;
  west: VaultAccess;
  eastReader: VaultAccess;
  westReader: VaultAccess;
  /** A bucket at neither site, by the account of each. */
  witness: { east: VaultAccess; west: VaultAccess; root: VaultAccess };
  /** Each site's own retention. */
  eastCleaner: VaultAccess;
  westCleaner: VaultAccess;
  /** The gateway's own administrator: for tests that damage what nobody may damage. */
  eastRoot: VaultAccess;
  westRoot: VaultAccess;
}

/** Fresh buckets, one at each site's gateway, with Object Lock unless told and the rights that the embedded stack gives. */
export async function scratchVaults({ locks = true } = {}): Promise<ScratchVaults> {
  const name = `scratch-${randomBytes(6).toString('hex')}`;
  const of = async (site: 'east' | 'west'): Promise<Record<VaultRole, VaultAccess>> => {
    const at = inject('stack').sites[site]?.vault;
    if (!at) throw new Error(`no site ${site} in the rig`);
    const bucket = `${name}-${site}`;
    await makeBucket({ ...at, bucket, locks });
    const base = { site, endpoint: at.endpoint, region: REGION, bucket };
    return {
      root: { ...base, ...at.root },
      writer: { ...base, ...at.writer },
      cleaner: { ...base, ...at.cleaner },
      reader: { ...base, ...at.reader },
    };
  };
  const [east, west, witness] = await Promise.all([of('east'), of('west'), scratchWitness(`${name}-witness`)]);
  return {
    east: east.writer,
    west: west.writer,
    witness,
    eastReader: east.reader,
    westReader: west.reader,
    eastCleaner: east.cleaner,
    westCleaner: west.cleaner,
    eastRoot: east.root,
    westRoot: west.root,
  };
}

async function scratchWitness(bucket: string): Promise<ScratchVaults['witness']> {
  const at = inject('stack').witness;
  if (!at) throw new Error('no witness in the rig');
  await makeWitnessBucket(at, bucket);
  const base = { site: 'witness', endpoint: at.endpoint, region: REGION, bucket };
  const of = (user: VaultUser | undefined): VaultAccess => {
    if (!user) throw new Error('no account in the witness of the rig');
    return { ...base, ...user };
  };
  return { east: of(at.users['east']), west: of(at.users['west']), root: of(at.root) };
}
