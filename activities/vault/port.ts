/**
 * A site's bucket. Keys are written once: nothing is ever replaced, and damage is mended by a further version. Errors are failures of the kinds `vault-unreachable`
 * (try again), `vault-refused` (rights, policy, bad checksum) and `disk-full`.
 */
export interface Vault {
  readonly site: string;
  /**
   * Stores bytes under a key that must be free (If-None-Match). A lost answer is cleared up by reading back: `stored`
   * and `present` both mean that exactly these bytes are there; `taken` that others are. With `lockUntil` the version
   * cannot be deleted before that time, where the bucket has Object Lock. `sha256`: that of the body, hex, when known.
   */
  put(
    key: string,
    body: Uint8Array,
    options?: { lockUntil?: Date; signal?: AbortSignal; sha256?: string },
  ): Promise<'stored' | 'present' | 'taken'>;
  /**
   * Stores bytes as one more version of a key that other bytes have taken: what stood there stays, and readers find the
   * version that holds. Repeated, it leaves one more. For damage only.
   */
  mend(key: string, body: Uint8Array, options?: { lockUntil?: Date; signal?: AbortSignal }): Promise<void>;
  /** The versions of a key, oldest first; none when it was never written. A delete marker hides nothing here. */
  versions(key: string, options?: { signal?: AbortSignal }): Promise<Buffer[]>;
  /** A part of the oldest version of a key; null when there is none. */
  read(
    key: string,
    range?: { offset: number; length: number },
    options?: { signal?: AbortSignal },
  ): Promise<Buffer | null>;
  /** Keys below a prefix in byte order, whatever delete markers say; `at`: when it was written, by the vault's clock, in ms. */
  list(
    prefix: string,
    options?: { after?: string; signal?: AbortSignal },
  ): AsyncIterable<{ key: string; bytes: number; at: number }>;
  /** Keys below a prefix in byte order, those that only markers stand for included, with what lies under each. */
  versionCounts(
    prefix: string,
    options?: { signal?: AbortSignal },
  ): AsyncIterable<{ key: string; versions: number; markers: number }>;
  close(): void;
}
