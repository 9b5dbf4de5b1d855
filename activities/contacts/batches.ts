import type { UserRecord } from '../vault/record.ts';

const BATCH_USERS = 500;
/** Bounds memory, and how long one transaction takes. */
const BATCH_BYTES = 2 << 20;

/** Users in groups small enough for one transaction. A user is never split. */
export async function* batches(records: AsyncIterable<UserRecord>): AsyncGenerator<UserRecord[]> {
  let batch: UserRecord[] = [];
  let bytes = 0;
  for await (const record of records) {
    batch.push(record);
    bytes += record.bytes.length;
    if (batch.length >= BATCH_USERS || bytes >= BATCH_BYTES) {
      yield batch;
      batch = [];
      bytes = 0;
    }
  }
  if (batch.length > 0) yield batch;
}
