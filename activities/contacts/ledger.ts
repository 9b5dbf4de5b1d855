import { once } from 'node:events';
import type { PoolClient } from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import type { SnapshotId } from '../../workflows/model/snapshots.ts';
import { Writer } from '../vault/bytes.ts';
import type { Database } from './database.ts';
import type { Digests } from './digests.ts';
import type { Horizon } from './horizon.ts';
import { countsAsArray } from './row-counts.ts';
import type { Column, Users } from './users.ts';

/** The snapshot that this site's own entries of the ledger stand for. */
export interface LedgerHead {
  gen: number;
  seq: number;
  /** SHA-256 of its manifest, hex. */
  manifest: string;
  /** When, by this database's clock, in ms, it was last said to whom a half belongs; 0 when never. */
  rightsMs: number;
}

/** Null when there is none, or when its digests were made under another key or by another major version. */
export async function readHead(client: PoolClient, customer: string, digests: Digests): Promise<LedgerHead | null> {
  const { rows } = await client.query<{ gen: string; seq: string; manifest: string; tag: Buffer; rights: Date | null }>(
    `select gen::text, seq::text, manifest, tag,
            (select max(s.at) from tandem.serving s where s.customer = t.customer) as rights
       from tandem.taken t where customer = $1`,
    [customer],
  );
  const [row] = rows;
  if (!row?.tag.equals(digests.tag)) return null;
  const { gen, seq, manifest, rights } = row;
  return { gen: Number(gen), seq: Number(seq), manifest, rightsMs: rights?.getTime() ?? 0 };
}

/** Users whom the ledger knows as served at this site, and who no longer are. */
export async function readGone(client: PoolClient, site: string): Promise<{ username: string; recordId: Buffer }[]> {
  const { rows } = await client.query<{ username: string; record_id: Buffer }>(
    `select l.username, l.record_id from tandem.ledger l
      where l.served_by = $1 and not exists (select from tandem.served s where s.username = l.username)`,
    [site],
  );
  return rows.map(({ username, record_id: recordId }) => ({ username, recordId }));
}

/** What a snapshot has made of the users it read. Numbers are those of `users`. */
export interface LedgerChange {
  snapshot: SnapshotId & { epoch: number; manifest: string };
  users: Users;
  /** Users whose entry is to be written. */
  changed: Iterable<number>;
  recordIds: Column;
  digests: Column;
  rowCounts: Column;
  /** Null when not every entry has its counts, or rows cannot be told by it. */
  horizon: Horizon | null;
  gone: readonly { username: string }[];
  tag: Buffer;
}

/**
 * Makes the ledger say what a snapshot holds, all at once: an entry that is newer than the head would let a change that
 * was undone since go unnoticed.
 */
export async function moveLedger(database: Database, change: LedgerChange): Promise<void> {
  const { snapshot, gone, tag, horizon } = change;
  const { customer, site, gen, seq, epoch, manifest } = snapshot;
  await database.transaction(async (client) => {
    // Whoever goes by the horizon relies on it that all which was written before this is on the disk when this is.
    await client.query(
      `select set_config('synchronous_commit', 'local', true) where current_setting('synchronous_commit') = 'off'`,
    );
    // A run that took longer must not put the ledger back.
    const { rowCount } = await client.query(
      `insert into tandem.taken as t (customer, gen, seq, manifest, tag, horizon, horizon_seq) values ($1, $2, $3, $4, $5, $6, $3)
       on conflict (customer) do update
         set gen = excluded.gen, seq = excluded.seq, manifest = excluded.manifest, tag = excluded.tag, at = now(),
             horizon = excluded.horizon, horizon_seq = excluded.horizon_seq
         where excluded.seq > t.seq`,
      [customer, gen, seq, manifest, tag, horizon && JSON.stringify(horizon)],
    );
    if (rowCount === 0) return;
    await client.query(
      `create temp table entry (username text not null, record_id bytea not null, digest bytea not null, rows integer[]) on commit drop`,
    );
    await copyEntries(client, change);
    await client.query(
      `insert into tandem.ledger (username, served_by, gen, seq, record_id, digest, rows, epoch)
       select username, $1, $2, $3, record_id, digest, rows, $4 from entry
       on conflict (username) do update
         set served_by = excluded.served_by, gen = excluded.gen, seq = excluded.seq, record_id = excluded.record_id,
             digest = excluded.digest, rows = excluded.rows, epoch = excluded.epoch, judged = null, applied_at = now()`,
      [site, gen, seq, epoch],
    );
    // What was mended is the snapshot's own now.
    await client.query('delete from tandem.mended m using entry e where m.username = e.username');
    // Only those that still are this site's: another may have been given the user, and its rows, since. Of users who were moved
    // the entry goes on to explain the rows that stand here, until a copy comes from wherever they are served.
    const left = [gone.map(({ username }) => username), site];
    await client.query(
      `update tandem.ledger l set served_by = '-' where username = any($1) and served_by = $2
         and exists (select from tandem.home h where h.username = l.username)`,
      left,
    );
    await client.query('delete from tandem.ledger where username = any($1) and served_by = $2', left);
  });
}

const SIGNATURE = Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1');
const NULL_LENGTH = 0xffffffff;
const BATCH_BYTES = 256 << 10;

async function copyEntries(client: PoolClient, change: LedgerChange): Promise<void> {
  const stream = client.query(copyFrom('copy entry from stdin (format binary)'));
  const finished = once(stream, 'finish');
  finished.catch(() => undefined); // It is awaited when all is written.
  let out = new Writer().raw(SIGNATURE);
  const send = async (): Promise<void> => {
    if (!stream.write(Buffer.from(out.bytes()))) await Promise.race([once(stream, 'drain'), finished]);
    out = new Writer();
  };
  for (const user of change.changed) {
    const recordId = change.recordIds.get(user) ?? Buffer.alloc(change.recordIds.width);
    const digest = change.digests.get(user) ?? Buffer.alloc(0);
    const name = change.users.name(user);
    const rows = countsAsArray(change.rowCounts.get(user));
    out.u16(4);
    for (const value of [name, recordId, digest]) out.u32(value.length).raw(value);
    if (rows) out.u32(rows.length).raw(rows);
    else out.u32(NULL_LENGTH);
    if (out.length > BATCH_BYTES) await send();
  }
  out.u16(0xffff);
  await send();
  stream.end();
  await finished;
}
