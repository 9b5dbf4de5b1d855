import { rowQueries } from './rows.ts';

/** How many rows of each kind a user has, as a value of fixed size. */
const KINDS = rowQueries.length;
export const ROW_COUNTS_BYTES = 1 + 4 * KINDS;

/** The first byte tells it from none: nobody's zeros are somebody who has no rows. */
export function packCounts(counts: readonly number[]): Buffer {
  const bytes = Buffer.alloc(ROW_COUNTS_BYTES);
  bytes[0] = 1;
  for (const [kind, count] of counts.entries()) bytes.writeUInt32BE(count, 1 + 4 * kind);
  return bytes;
}

const INT4 = 23;

/** As COPY BINARY takes an array of integers; null where there are none. */
export function countsAsArray(packed: Buffer | null): Buffer | null {
  if (!packed) return null;
  const array = Buffer.alloc(20 + 8 * KINDS);
  for (const [at, value] of [1, 0, INT4, KINDS, 1].entries()) array.writeInt32BE(value, 4 * at);
  for (let kind = 0; kind < KINDS; kind += 1) {
    array.writeInt32BE(4, 20 + 8 * kind);
    packed.copy(array, 24 + 8 * kind, 1 + 4 * kind, 5 + 4 * kind);
  }
  return array;
}

/** What `rowCountFields` gives. */
export function countsOf(fields: readonly (Buffer | null)[]): number[] | null {
  if (fields.some((field) => field === null)) return null;
  return fields.map((field) => Number(field?.readBigInt64BE() ?? 0));
}

/** The counts of an entry of the ledger, a column for each kind; NULL where it has none. */
export const rowCountFields = (ledger: string): string =>
  rowQueries.map((_, kind) => `${ledger}.rows[${kind + 1}]::bigint`).join(', ');

/** The counts of a digest, as the ledger has them. */
export const rowCountArray = (digest: string): string =>
  `array[${rowQueries.map(({ kind }) => `coalesce(${digest}.${kind}, 0)::integer`).join(', ')}]`;
