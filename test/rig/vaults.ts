import { randomBytes } from 'node:crypto';
import { inject } from 'vitest';
import type { VaultAccess } from '../../activities/settings.ts';
import type { VaultRole } from '../../ops/embedded/secrets.ts';
import { makeBucket, REGION } from '../../ops/embedded/vault.ts';

export interface ScratchVaults {
  east: VaultAccess;
  west: VaultAccess;
  eastReader: VaultAccess;
  westReader: VaultAccess;
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
  const [east, west] = await Promise.all([of('east'), of('west')]);
  return {
    east: east.writer,
    west: west.writer,
    eastReader: east.reader,
    westReader: west.reader,
    eastCleaner: east.cleaner,
    westCleaner: west.cleaner,
    eastRoot: east.root,
    westRoot: west.root,
  };
}
