import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  randomBytes,
  randomUUID,
  type KeyObject,
} from 'node:crypto';
import { closeSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PlainFault } from '../plain-fault.ts';

/** What another thread of this process needs to use the same file. */
export interface SharedSpill {
  file: number;
  key: Uint8Array;
  /** One number: where the file ends. */
  end: SharedArrayBuffer;
}

/**
 * Bytes that do not fit into memory, in a file that has no name and is encrypted under a key nobody keeps: it is gone with
 * the process, whatever becomes of that. Threads share it. Calls wait for the disk: for a thread that reads rows there is
 * nothing else to do. Fails with `disk-full`.
 */
export class Spill {
  readonly shared: SharedSpill;
  private readonly end: BigInt64Array;
  private readonly key: KeyObject;
  private sealed: Buffer = Buffer.alloc(0);

  constructor(shared: SharedSpill) {
    this.shared = shared;
    this.end = new BigInt64Array(shared.end);
    this.key = createSecretKey(shared.key);
  }

  static create(): Spill {
    const path = join(tmpdir(), `tandem-${randomUUID()}`);
    const file = onDisk(() => openSync(path, 'wx+', 0o600));
    unlinkSync(path);
    return new Spill({ file, key: randomBytes(32), end: new SharedArrayBuffer(8) });
  }

  /** Answers where they lie. */
  write(bytes: Buffer): number {
    // Places never overlap and each begins in a block of its own, so no counter is used twice.
    const offset = Number(Atomics.add(this.end, 0, BigInt(bytes.length)));
    const sealed = createCipheriv('aes-256-ctr', this.key, counter(offset)).update(bytes);
    // A full disk may take a part, and say so only when the rest is written.
    for (let at = 0; at < sealed.length;) {
      at += onDisk(() => writeSync(this.shared.file, sealed, at, sealed.length - at, offset + at));
    }
    return offset;
  }

  read(offset: number, into: Buffer): void {
    if (this.sealed.length < into.length) this.sealed = Buffer.allocUnsafeSlow(into.length);
    const sealed = this.sealed.subarray(0, into.length);
    const length = onDisk(() => readSync(this.shared.file, sealed, 0, sealed.length, offset));
    if (length !== into.length)
      throw new PlainFault('disk-full', `scratch folder ${tmpdir()}: ${length} of ${into.length} bytes came back`);
    createDecipheriv('aes-256-ctr', this.key, counter(offset)).update(sealed).copy(into);
  }

  close(): void {
    closeSync(this.shared.file);
  }
}

function counter(offset: number): Buffer {
  const iv = Buffer.alloc(16);
  iv.writeBigUInt64BE(BigInt(offset), 0);
  return iv;
}

function onDisk<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new PlainFault(
      'disk-full',
      `scratch folder ${tmpdir()}: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}
