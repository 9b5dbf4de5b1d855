import { generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readAcceptances } from '../../activities/vault/accept.ts';
import { newestCovered, readReceipt, type Shelf } from '../../activities/vault/catalog.ts';
import { decompress } from '../../activities/vault/codec.ts';
import { recordKeys } from '../../activities/vault/keys.ts';
import { manifestKey, receiptKey } from '../../activities/vault/manifest.ts';
import { openSnapshot } from '../../activities/vault/open.ts';
import { openPack, rangesOf } from '../../activities/vault/pack-reader.ts';
import { buildPacks } from '../../activities/vault/pack-writer.ts';
import { encodeRecord, noRows } from '../../activities/vault/record.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { seal } from '../../activities/vault/signed.ts';
import { failures } from '../../workflows/model/failures.ts';
import { scratchVaults } from '../rig/vaults.ts';
import { ringOf } from '../vault/world.ts';

/** What a newer Tandem wrote, whole and well signed: refused by name, never guessed at and never taken for damage. */

const keys = ringOf('k1');
const place = { customer: 'acme', site: 'east', gen: 1 };
const id = { ...place, seq: 1 };
const { privateKey, publicKey } = generateKeyPairSync('ed25519');
let vault: S3Vault;
let shelf: Shelf;
beforeAll(async () => {
  vault = new S3Vault((await scratchVaults()).east);
  shelf = { vault, customer: 'acme', site: 'east', publicKeys: new Map([['east', publicKey]]) };
});
afterAll(() => vault.close());

const refused = (what: string) => ({
  type: 'snapshot-format',
  nonRetryable: true,
  message: expect.stringContaining(what) as string,
  details: [{ try: failures['snapshot-format'].try }],
});

/** A pack of one record, which another version may have made. */
async function packOf(record: Buffer) {
  const { userKey, recordId } = recordKeys(keys.ring.get('k1') ?? Buffer.alloc(32));
  const one = async function* () {
    yield await Promise.resolve({ userKey: userKey('ann'), recordId: recordId(record), bytes: record });
  };
  for await (const pack of buildPacks(one(), keys, place, 1)) return pack;
  throw new Error('no pack');
}

async function readPack({ bytes, footer }: { bytes: Buffer; footer: number }): Promise<unknown> {
  const pack = await openPack(rangesOf(bytes, footer, 'vault west'), keys, place, 'k1');
  const [entry] = pack.footer.entries;
  return entry && pack.record(entry);
}

describe('what a newer version wrote is refused:', () => {
  it('a manifest', async () => {
    await vault.put(manifestKey(id), seal('manifest', 'east', privateKey, { ...id, format: 2 }));
    await expect(openSnapshot({ ...shelf, keys, id })).rejects.toMatchObject(refused('format 2, this Tandem knows 1'));
  });

  it('a receipt, which covers nothing here', async () => {
    await vault.put(receiptKey('east', id), seal('receipt', 'east', privateKey, { format: 2, snapshot: id }));
    await expect(readReceipt(shelf, 'east', id)).rejects.toMatchObject(refused('format 2, this Tandem knows 1'));
    expect(await newestCovered(shelf, 'east')).toBeNull();
  });

  it('an acceptance', async () => {
    const key = 'acme/east/accepted/east/0000000001-operator-1.json';
    await vault.put(key, seal('acceptance', 'east', privateKey, { format: 2, snapshot: id }));
    const reading = readAcceptances(vault, shelf, 'east', shelf.publicKeys);
    await expect(reading).rejects.toMatchObject(refused('format 2, this Tandem knows 1'));
  });

  it('a pack', async () => {
    const pack = await packOf(encodeRecord('ann', noRows()));
    await expect(readPack(pack)).resolves.toMatchObject({ username: 'ann' });
    pack.bytes.writeUInt16BE(2, 8);
    await expect(readPack(pack)).rejects.toMatchObject(refused('pack version 2, this Tandem knows 1'));
  });

  it('a record, and a kind of row in it', async () => {
    const record = encodeRecord('ann', noRows());
    record.writeUInt8(2);
    await expect(readPack(await packOf(record))).rejects.toMatchObject(
      refused('record version 2, this Tandem knows 1'),
    );
    const row = Buffer.from([0x58, 0, 0, 0, 0]);
    const other = await packOf(Buffer.concat([encodeRecord('ann', noRows()), row]));
    await expect(readPack(other)).rejects.toMatchObject(refused('row kind "X", this Tandem knows RGLID'));
  });

  it('a codec', async () => {
    await expect(decompress(Buffer.of(3, 0), 10, 'vault west')).rejects.toMatchObject(
      refused('codec 3, this Tandem knows'),
    );
  });
});
