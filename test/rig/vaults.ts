import { randomBytes } from 'node:crypto';
import { inject } from 'vitest';
import type { VaultAccess } from '../../activities/settings.ts';
import { makeBucket, REGION } from '../../ops/embedded/vault.ts';

export interface ScratchVaults {
  east: VaultAccess;
  west: VaultAccess;
  eastReader: VaultAccess;
  westReader: VaultAccess;
  /** The gateway's own administrator: for tests that damage what nobody may damage. */
  eastRoot: VaultAccess;
  westRoot: VaultAccess;
}

/** Fresh buckets, one at each site's gateway, with Object Lock and the rights that the embedded stack gives. */
export async function scratchVaults(): Promise<ScratchVaults> {
  const name = `scratch-${randomBytes(6).toString('hex')}`;
  const of = async (site: 'east' | 'west'): Promise<[VaultAccess, VaultAccess, VaultAccess]> => {
    const at = inject('stack').sites[site]?.vault;
    if (!at) throw new Error(`no site ${site} in the rig`);
    const bucket = `${name}-${site}`;
    await makeBucket({ endpoint: at.endpoint, bucket, root: at.root, writer: at.writer, reader: at.reader });
    const base = { site, endpoint: at.endpoint, region: REGION, bucket };
    return [
      { ...base, ...at.writer },
      { ...base, ...at.reader },
      { ...base, ...at.root },
    ];
  };
  const [[east, eastReader, eastRoot], [west, westReader, westRoot]] = await Promise.all([of('east'), of('west')]);
  return { east, west, eastReader, westReader, eastRoot, westRoot };
}
