import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { compareSnapshot } from '../../activities/contacts/compare.ts';
import { Database } from '../../activities/contacts/database.ts';
import { loadRecords } from '../../activities/contacts/load.ts';
import { recordKeys } from '../../activities/vault/keys.ts';
import { makeRecord, noRows, type UserRecord } from '../../activities/vault/record.ts';
import { scratchDatabase, type ScratchDatabase } from '../rig/databases.ts';
import { quiet } from '../vault/world.ts';

let scratch: ScratchDatabase;
let database: Database;

beforeEach(async () => {
  scratch = await scratchDatabase('east');
  database = new Database('scratch', scratch.url, { connections: 6, connectMs: 5000, statementMs: 30_000 });
});
afterEach(async () => {
  await database.close();
  await scratch.drop();
});

const keys = recordKeys(Buffer.alloc(32, 7));

async function* stream(records: readonly UserRecord[]): AsyncGenerator<UserRecord> {
  for (const record of records) yield await Promise.resolve(record);
}

/** What COPY might take for an end of a field, a row or the whole, for a NULL, or for a byte of another kind. */
const awkward = ['', '\\', '\\N', '\\.', '\\n', 'a\tb', 'a\nb', 'a\r\nb', 'a\\\tb\\', 'ä€😀', 'x'.repeat(200_000)];

describe('a load into empty tables', () => {
  it('loses and changes nothing of ACL items, whatever their values are', async () => {
    const items = awkward.map((value, n) => ['block', 'j', value, 'd', `${n}.5`, n % 2 === 0 ? 'tffff' : 'ftttt']);
    const records = [
      makeRecord('ann', { ...noRows(), lists: [['block'], ['blocked']], items, defaults: [['block']] }, keys),
      makeRecord('bob', { ...noRows(), lists: [['block']], items: items.slice(1, 3) }, keys),
    ];
    await loadRecords({ database, records: stream(records), ...quiet });
    const { counts, mismatches } = await compareSnapshot({ database, records: stream(records), whole: true, ...quiet });
    expect(mismatches).toBe(0);
    expect(counts).toMatchObject({ users: 2, lists: 3, aclItems: awkward.length + 2, defaults: 1 });
  });

  it('gives the items of each list to that list', async () => {
    const names = ['a', 'ab', 'b', ''];
    const items = names.map((name) => [name, 'j', `only-${name}@x`, 'd', '1', 'tffff']);
    const record = makeRecord('ann', { ...noRows(), lists: names.map((name) => [name]), items }, keys);
    await loadRecords({ database, records: stream([record]), ...quiet });
    const rows = await database.query<{ name: string; value: string }>(
      'select l.name, d.value from privacy_list l join privacy_list_data d using (id)',
    );
    expect(new Set(rows.map(({ name, value }) => `${name} ${value}`))).toEqual(
      new Set(names.map((name) => `${name} only-${name}@x`)),
    );
  });
});
