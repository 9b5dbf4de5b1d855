import type { Keyring } from '../settings.ts';
import { damaged } from './bytes.ts';
import { openPack, rangesOf, type PackRef } from './pack-reader.ts';
import type { Entry, Footer, PackPlace } from './pack.ts';
import type { UserRecord } from './record.ts';

/**
 * Opens every frame of a pack and checks every record against its two ids, frame by frame: no more than one is open at a
 * time. The records go to `visit` in the order in which they lie, after the users that are gone went to `forget`.
 */
export async function openWholePack(
  { bytes, where }: { bytes: Buffer; where: string },
  { place, ref, keys }: { place: PackPlace; ref: PackRef; keys: Keyring },
  visit: (entry: Entry, record: UserRecord) => void,
  forget: (userKey: Buffer) => void = () => undefined,
): Promise<Footer> {
  if (bytes.length !== ref.bytes) throw damaged(where, `${bytes.length} bytes, its manifest says ${ref.bytes}`);
  const pack = await openPack(rangesOf(bytes, ref.footer, where), keys, place, ref.keyId);
  const { footer } = pack;
  for (const gone of footer.tombstones) forget(gone);
  const entries = footer.entries.toSorted((a, b) => a.frame - b.frame || a.offset - b.offset);
  let at = 0;
  for (let number = 0; number < pack.count; number += 1) {
    const frame = await pack.frame(number);
    for (let entry = entries[at]; entry?.frame === number; entry = entries[at]) {
      visit(entry, await pack.record(entry, frame));
      at += 1;
    }
  }
  if (at < entries.length) throw damaged(where, `${entries.length - at} records lie in no frame`);
  return footer;
}
