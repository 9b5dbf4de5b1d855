/**
 * A site's bucket. Keys are written once: nothing is ever replaced. Errors are failures of the kinds `vault-unreachable`
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
  /** The versions of a key, oldest first; none when it was never written. A delete marker hides nothing here. */
  versions(key: string, options?: { signal?: AbortSignal }): Promise<Buffer[]>;
  /** A part of the oldest version of a key; null when there is none. */
  read(
    key: string,
    range?: { offset: number; length: number },
    options?: { signal?: AbortSignal },
  ): Promise<Buffer | null>;
  /** Keys below a prefix in byte order, whatever delete markers say. */
  list(
    prefix: string,
    options?: { after?: string; signal?: AbortSignal },
  ): AsyncIterable<{ key: string; bytes: number }>;
  close(): void;
}
