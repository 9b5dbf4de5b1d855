import { createHash } from 'node:crypto';
import type { PoolClient } from 'pg';
import { failure } from '../../workflows/model/failures.ts';
import type { JournalEntry } from '../../workflows/model/moves.ts';
import { canonicalJson } from '../../workflows/model/plan.ts';
import type { Timestamp } from '../../workflows/model/snapshots.ts';

/** One line of a move's journal, as it stands in the chain. */
export interface JournalLine {
  seq: number;
  key: string;
  kind: JournalEntry['kind'];
  at: Timestamp;
  body: Record<string, unknown>;
  /** SHA-256 over the previous line's hash (32 zero bytes before the first) and this line's canonical JSON, hex. */
  hash: string;
}

interface Row {
  seq: number;
  key: string;
  kind: JournalEntry['kind'];
  at: Date;
  body: string;
  hash: Buffer;
}

/** Every word of a line is under the hash, its place, kind and time included: none of them can be changed unseen. */
function lineHash(
  previous: string | null,
  move: { customer: string; move: string },
  line: Omit<JournalLine, 'hash'>,
): string {
  const { seq, key, kind, at, body } = line;
  return createHash('sha256')
    .update(previous === null ? Buffer.alloc(32) : Buffer.from(previous, 'hex'))
    .update(canonicalJson({ customer: move.customer, move: move.move, seq, key, kind, at, body }))
    .digest('hex');
}

function fromRow({ seq, key, kind, at, body, hash }: Row): JournalLine {
  return {
    seq,
    key,
    kind,
    at: at.toISOString(),
    body: JSON.parse(body) as Record<string, unknown>,
    hash: hash.toString('hex'),
  };
}

const columns = 'seq, key, kind, at, body, hash';

/** The line with this key; null when it was never written. */
export async function findLine(client: PoolClient, move: string, key: string): Promise<JournalLine | null> {
  const { rows } = await client.query<Row>(`select ${columns} from tandem.journal where move = $1 and key = $2`, [
    move,
    key,
  ]);
  return rows[0] ? fromRow(rows[0]) : null;
}

/** All lines of a move in order, or those from one number up to another. */
export async function readJournal(
  client: Pick<PoolClient, 'query'>,
  move: string,
  { from = 1, to = Infinity } = {},
): Promise<JournalLine[]> {
  const { rows } = await client.query<Row>(
    `select ${columns} from tandem.journal where move = $1 and seq >= $2 and seq <= $3 order by seq`,
    [move, from, Number.isFinite(to) ? to : 2 ** 31 - 1],
  );
  return rows.map(fromRow);
}

/**
 * Appends one line in the caller's transaction, so that an effect and its line stand or fall together. A key that
 * stands already with the same content is that line, whatever its time; with other content it is refused, and so is a
 * new line of a move that has ended. Locks the move's row: take the epoch's lock before, never after.
 */
export async function appendJournal(client: PoolClient, entry: JournalEntry): Promise<JournalLine> {
  const { customer, move, key, kind, at } = entry;
  const { rows: moves } = await client.query<{ customer: string; ended_at: Date | null }>(
    'select customer, ended_at from tandem.move where move = $1 for update',
    [move],
  );
  const [held] = moves;
  if (!held || held.customer !== customer) {
    throw failure(
      'input-invalid',
      `journal: move ${JSON.stringify(move)} of ${JSON.stringify(customer)} never claimed the slot here`,
    );
  }
  const body = canonicalJson(entry.body);
  const found = await findLine(client, move, key);
  if (found) {
    if (found.kind === kind && canonicalJson(found.body) === body) return found;
    throw failure(
      'input-invalid',
      `journal of move ${move}: line ${key} stands there with another content; a line is never changed`,
    );
  }
  if (held.ended_at) {
    throw failure(
      'move-ended',
      `journal of move ${move}: closed at ${held.ended_at.toISOString()}; line ${key} comes too late`,
    );
  }
  const [last] = (
    await client.query<Row>(`select ${columns} from tandem.journal where move = $1 order by seq desc limit 1`, [move])
  ).rows;
  const line = {
    seq: (last?.seq ?? 0) + 1,
    key,
    kind,
    at: new Date(at).toISOString(),
    body: JSON.parse(body) as Record<string, unknown>,
  };
  const hash = lineHash(last ? last.hash.toString('hex') : null, entry, line);
  await client.query(
    'insert into tandem.journal (customer, move, seq, key, kind, at, body, hash) values ($1, $2, $3, $4, $5, $6, $7, $8)',
    [customer, move, line.seq, key, kind, line.at, body, Buffer.from(hash, 'hex')],
  );
  return { ...line, hash };
}

/**
 * What is wrong with a chain, in one sentence; null when every line follows from the one before, from the first on. A part
 * of one begins after the line that is given.
 */
export function chainFault(
  move: { customer: string; move: string },
  lines: readonly JournalLine[],
  after: { seq: number; hash: string | null } = { seq: 0, hash: null },
): string | null {
  let previous = after.hash;
  for (const [i, line] of lines.entries()) {
    const seq = after.seq + i + 1;
    if (line.seq !== seq) return `line ${seq} is missing: number ${line.seq} stands in its place`;
    if (lineHash(previous, move, line) !== line.hash) return `line ${line.seq} (${line.key}) is not what was written`;
    previous = line.hash;
  }
  return null;
}
