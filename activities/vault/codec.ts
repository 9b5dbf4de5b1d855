import { promisify } from 'node:util';
import * as zlib from 'node:zlib';
import { failure } from '../../workflows/model/failures.ts';
import { damaged } from './bytes.ts';

/** First byte of an open frame. Node may still call its zstd experimental: where there is none, brotli is written. */
const codecs = { zstd: 1, brotli: 2 } as const;

/** On such data no higher level makes it smaller, and each takes longer. */
const ZSTD_LEVEL = 1;
const BROTLI_QUALITY = 1;

const brotli = promisify(zlib.brotliCompress);
const unbrotli = promisify(zlib.brotliDecompress);
const zstd = promisify((zlib.zstdCompress as typeof zlib.zstdCompress | undefined) ?? absent);
const unzstd = promisify((zlib.zstdDecompress as typeof zlib.zstdDecompress | undefined) ?? absent);

/** Output in one piece, which is at most a third of what goes in: each piece costs a turn of the event loop and a copy. */
const LEAST_CHUNK = 64;
const roomFor = (plain: Buffer): number => LEAST_CHUNK + Math.ceil(plain.length / 3);

export const hasZstd = typeof zlib.zstdCompress === 'function';

export async function compress(
  plain: Buffer,
  codec: keyof typeof codecs = hasZstd ? 'zstd' : 'brotli',
): Promise<Buffer> {
  const packed =
    codec === 'zstd'
      ? await zstd(plain, {
          chunkSize: roomFor(plain),
          params: { [zlib.constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL },
        })
      : await brotli(plain, {
          chunkSize: roomFor(plain),
          params: { [zlib.constants.BROTLI_PARAM_QUALITY]: BROTLI_QUALITY },
        });
  return Buffer.concat([Buffer.of(codecs[codec]), packed]);
}

/** Undoes `compress`. More than `limit` bytes is `snapshot-damaged`, an unknown codec `snapshot-format`. */
export async function decompress(packed: Buffer, limit: number, where: string): Promise<Buffer> {
  const body = packed.subarray(1);
  try {
    if (packed[0] === codecs.zstd && hasZstd)
      return await unzstd(body, { maxOutputLength: limit, chunkSize: limit + LEAST_CHUNK });
    if (packed[0] === codecs.brotli)
      return await unbrotli(body, { maxOutputLength: limit, chunkSize: limit + LEAST_CHUNK });
  } catch (error) {
    throw damaged(where, error instanceof Error ? error.message : String(error));
  }
  throw failure('snapshot-format', `${where}: codec ${packed[0]}, this Tandem knows ${hasZstd ? '1 and 2' : '2'}`);
}

function absent(_bytes: Buffer, _options: object, done: (error: Error, bytes: Buffer) => void): void {
  done(new Error('this Node.js has no zstd'), Buffer.alloc(0));
}
