import { UserRecord } from '../vault/record.ts';

const BATCH_USERS = 500;
/** Bounds memory, and how long one transaction takes. */
const BATCH_BYTES = 2 << 20;

/**
 * Users in groups small enough for one transaction. A user is never split. Records are copied: each is a piece of a frame,
 * and a few hundred of them would keep as many frames in memory.
 */
export async function* batches(records: AsyncIterable<UserRecord>): AsyncGenerator<UserRecord[]> {
  let batch: UserRecord[] = [];
  let bytes = 0;
  for await (const { username, bytes: record, recordId } of records) {
    batch.push(new UserRecord(username, Buffer.from(record), recordId));
    bytes += record.length;
    if (batch.length >= BATCH_USERS || bytes >= BATCH_BYTES) {
      yield batch;
      batch = [];
      bytes = 0;
    }
  }
  if (batch.length > 0) yield batch;
}
