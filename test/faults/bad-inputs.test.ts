import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { applyStandby } from '../../activities/contacts/standby.ts';
import { moveInProcess } from '../../activities/mover/mover.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import type { ApplyCounts, SnapshotSummary } from '../../workflows/model/snapshots.ts';
import { copyRows, differences } from '../contacts/same.ts';
import { CUSTOMER, openWorld, quiet, ringOf, type Site, type World } from '../vault/world.ts';
import { usersOf } from '../walk/look.ts';
import { settingsOf } from '../walk/story.ts';

/** What may be wrong around a job: one failure that says what and where, and nothing written. */

let world: World;
beforeEach(async () => {
  world = await openWorld(24);
});
afterEach(() => world.drop());

const tables = ['rosterusers', 'rostergroups', 'privacy_list', 'privacy_list_data', 'privacy_default_list'];

const final = (type: string, ...words: string[]) => ({
  type,
  nonRetryable: true,
  message: expect.stringMatching(new RegExp(words.join('.*'))) as string,
});

async function stored(site: Site): Promise<string[]> {
  const found: string[] = [];
  for await (const { key } of world.vaults[site].list('')) found.push(key);
  return found;
}

async function apply(taken: SnapshotSummary, keys = world.keys): Promise<ApplyCounts> {
  const snapshot = await world.open('east', taken, keys);
  return applyStandby({ database: world.databases.west, site: 'west', snapshot, keys, ...quiet });
}

/** That applying fails like this, and changes nobody. */
async function refusesToApply(taken: SnapshotSummary, failure: object, keys = world.keys): Promise<void> {
  const before = await usersOf(world.urls.west);
  await expect(apply(taken, keys)).rejects.toMatchObject(failure);
  expect(await usersOf(world.urls.west)).toEqual(before);
  expect(await world.sql('west', 'select from tandem.applied')).toEqual([]);
}

describe('a role without a right', () => {
  it('to read any one table takes no snapshot, and is told which', async () => {
    for (const table of tables) {
      await world.sql('east', `revoke select on ${table} from tandem`);
      const refused = final('database-refused', 'database of acme at east: ', `permission denied for table ${table}`);
      await expect(world.take('east')).rejects.toMatchObject(refused);
      await world.sql('east', `grant select on ${table} to tandem`);
    }
    expect(await stored('east')).toEqual([]);
    expect(await world.sql('east', 'select from tandem.ledger')).toEqual([]);
    expect(await world.take('east')).toMatchObject({ seq: 1, counts: { users: 12 } });
  });

  it('to write any one table leaves the standby copy as it was', async () => {
    const taken = await world.take('east');
    for (const table of tables) {
      await world.sql('west', `revoke insert on ${table} from tandem`);
      await refusesToApply(taken, final('database-refused', 'at west: ', `permission denied for table ${table}`));
      await world.sql('west', `grant insert on ${table} to tandem`);
    }
    expect(await apply(taken)).toMatchObject({ users: 12 });
  });
});

describe('another schema', () => {
  it('of Tandem, by a newer version, is neither read nor written', async () => {
    const taken = await world.take('east');
    for (const site of ['east', 'west'] as const)
      await world.sql(site, 'update tandem.identity set version = version + 1');
    const refused = final('database-refused', 'schema version 2, 1 is known');
    await expect(world.take('east')).rejects.toMatchObject(refused);
    expect(await stored('east')).toHaveLength(2);
    await refusesToApply(taken, refused);
  });

  it('of ejabberd, for several hosts or with a table less, takes no snapshot in', async () => {
    const taken = await world.take('east');
    await world.sql('west', `alter table rosterusers add server_host text not null default 'acme.example'`);
    await refusesToApply(taken, final('database-refused', 'database of acme at west: ', 'server_host'));
    await world.sql('west', 'alter table rosterusers drop server_host; drop table privacy_default_list');
    const missing = final('database-refused', 'database of acme at west: there is no privacy_default_list.username');
    await expect(apply(taken)).rejects.toMatchObject(missing);
    expect(await world.sql('west', 'select from tandem.ledger')).toEqual([]);
  });
});

describe('a key', () => {
  it('that the ring lacks, or of another length, is named before anything is read or written', async () => {
    const { ring } = world.keys;
    const missing = final('key-missing', 'snapshot of acme: key "k9", which is not in the ring');
    await expect(world.take('east', { keys: { current: 'k9', ring } })).rejects.toMatchObject(missing);
    const short = { current: 'k1', ring: new Map([['k1', Buffer.alloc(16)]]) };
    await expect(world.take('east', { keys: short })).rejects.toMatchObject(final('key-wrong', '"k1" has 16 bytes'));
    expect(await stored('east')).toEqual([]);
  });

  it('of other bytes, or unknown, brings nothing into the standby copy', async () => {
    const taken = await world.take('east');
    await refusesToApply(taken, final('key-wrong', 'vault east: ', '"k1"'), ringOf('k1'));
    await refusesToApply(taken, final('key-missing', '"k1"'), ringOf('k2'));
  });
});

describe('a vault', () => {
  it('without its bucket, or that knows nobody of this name or secret, is refused; the database stays as it was', async () => {
    const { east } = world.access;
    for (const [change, words] of [
      [{ bucket: 'no-such-bucket' }, 'NoSuchBucket'],
      [{ secretAccessKey: 'wrong' }, 'SignatureDoesNotMatch'],
      [{ accessKeyId: 'nobody' }, 'InvalidAccessKeyId'],
    ] as const) {
      const vault = new S3Vault({ ...east, ...change });
      await expect(world.take('east', { vault })).rejects.toMatchObject(final('vault-refused', 'vault east: ', words));
      await expect(world.pull('west', { peer: vault })).rejects.toMatchObject(final('vault-refused', words));
      vault.close();
    }
    expect(await world.sql('east', 'select from tandem.ledger')).toEqual([]);
    expect(await world.sql('west', 'select from tandem.high_water')).toEqual([]);
  });
});

describe('a user over every limit', () => {
  it('with 60,000 contacts and a megabyte in a field crosses to the other site whole, in bounded memory', async () => {
    const [who] = await world.sql('east', `select username from tandem.home where site = 'east' order by 1 limit 1`);
    await world.sql(
      'east',
      `insert into rosterusers (username, jid, nick, subscription, ask, askmessage, server, subscribe, type)
         select $1, 'contact-' || n || '@partner.example', case n when 7 then repeat('Ω≠', 262144) else md5(n::text) end,
                'B', 'N', '', 'N', '', 'item' from generate_series(1, 60000) n`,
      [who?.['username']],
    );
    const copy = await copyRows(world, 'east', 'east');
    const peaks: number[] = [];
    const move = (
      site: Site,
      job: 'take-snapshot' | 'pull-snapshots' | 'verify-snapshot' | 'apply-standby',
      input: object,
    ) => {
      const buckets = {
        east: { writer: world.access.east, reader: world.access.eastReader },
        west: { writer: world.access.west, reader: world.access.westReader },
      };
      const at = { database: world.urls[site], own: buckets[site], peer: buckets[site === 'east' ? 'west' : 'east'] };
      const settings = settingsOf(site, at, world.signingKeys[site], world.publicKeys, world.keys);
      return moveInProcess(settings, job, input, quiet, (bytes) => peaks.push(bytes));
    };
    const { customer, gen, seq } = (await move('east', 'take-snapshot', { customer: CUSTOMER })) as SnapshotSummary;
    const snapshot = { customer, site: 'east', gen, seq };
    await move('west', 'pull-snapshots', { customer });
    await move('west', 'verify-snapshot', { snapshot });
    expect(await move('west', 'apply-standby', { snapshot })).toMatchObject({ users: 12, held: 0 });
    expect(await differences(world, 'west', 'east', copy)).toBe(0);
    expect(Math.max(...peaks)).toBeLessThan(256 << 20);
  });
});
