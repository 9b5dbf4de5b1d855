import type { PoolClient } from 'pg';
import { mendTouched } from './mend.ts';
import { lockRows } from './reconcile.ts';
import { lockWrites } from './writer.ts';

/**
 * Brings the other side of the contacts that a merge `of` two versions has changed to agree, once for it. To be called after the
 * epoch was locked, in the transaction that says that the merge is done; read committed, so that rows are read after they were locked.
 */
export async function mendMerged(
  client: PoolClient,
  request: Parameters<typeof mendTouched>[1],
  of: string,
): ReturnType<typeof mendTouched> {
  await lockWrites(client, request.customer); // Before the tables, as everywhere: whoever waits for them may hold it.
  await lockRows(client);
  const pairs = await mendTouched(client, request, of);
  await client.query('update tandem.reconciled set mended_at = now() where salvage = $1 and mended_at is null', [of]);
  return pairs;
}
