import { generateKeyPairSync, sign } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { applyStandby } from '../../activities/contacts/standby.ts';
import { whySuspect } from '../../activities/contacts/suspect.ts';
import { keepAcceptance } from '../../activities/vault/accept.ts';
import { newestCovered, type Shelf } from '../../activities/vault/catalog.ts';
import { rawHex } from '../../ops/keys.ts';
import type { Role } from '../../workflows/model/plan.ts';
import { acceptanceText, whyShrunk, type Acceptance, type Receipt } from '../../workflows/model/snapshots.ts';
import { CUSTOMER, openWorld, quiet, type World } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await openWorld(240);
});
afterEach(() => world.drop());

const shelf = (): Shelf => ({
  vault: world.vaults.west,
  customer: CUSTOMER,
  site: 'east',
  publicKeys: world.publicKeys,
});

/** What the standby workflow does with the newest snapshot of east. */
async function protect(): Promise<Receipt> {
  await world.take('east');
  const { unverified } = await world.pull('west');
  if (!unverified) throw new Error('nothing to verify');
  const receipt = await world.verify('west', unverified, {
    judge: (manifest) => whySuspect(world.databases.west, manifest),
  });
  if (receipt.suspect === undefined) await apply(receipt);
  return receipt;
}

const apply = async ({ snapshot }: Receipt) =>
  applyStandby({
    database: world.databases.west,
    site: 'west',
    snapshot: await world.open('west', snapshot),
    keys: world.keys,
    ...quiet,
  });

const standbyRows = async (): Promise<number> =>
  Number(
    (
      await world.sql(
        'west',
        `select count(*)::int as n from rosterusers join tandem.home using (username) where site = 'east'`,
      )
    )[0]?.['n'],
  );

const operator = generateKeyPairSync('ed25519');
const operatorOf = (roles: Role[]) => ({ id: 'ann', key: rawHex(operator.publicKey), roles });

function acceptance(receipt: Receipt, changes: Partial<Acceptance> = {}): Acceptance {
  const { snapshot, manifest, counts } = receipt;
  const said = {
    snapshot,
    manifest,
    counts,
    operator: 'ann',
    because: 'moved away',
    at: new Date().toISOString(),
    ...changes,
  };
  return {
    format: 1,
    operatorSignature: sign(null, Buffer.from(acceptanceText(said)), operator.privateKey).toString('hex'),
    ...said,
  };
}

const keep = (a: Acceptance, roles: Role[] = ['approve']) =>
  keepAcceptance(
    { vault: world.vaults.west, site: 'west', signingKey: world.signingKeys.west, operators: [operatorOf(roles)] },
    a,
  );

describe('the standby copy is never emptied', () => {
  it('by a source whose contacts were truncated: the snapshot is kept, and neither applied nor counted', async () => {
    const good = await protect();
    const before = await standbyRows();
    await world.sql('east', 'truncate rosterusers, rostergroups');
    const receipt = await protect();
    expect(receipt.suspect).toMatch(/^\d+ of \d+ contacts are gone$/);
    expect(await standbyRows()).toBe(before);
    expect((await newestCovered(shelf(), 'west'))?.receipt).toEqual(good);
    // It was looked at: it is not looked at again, and the next one is judged anew.
    expect(await world.pull('west')).toMatchObject({ unverified: null, unapplied: null });
    expect((await protect()).suspect).toMatch(/contacts are gone/);
    expect(await standbyRows()).toBe(before);
  });

  it('by a source that lost its block lists, or its users', async () => {
    await protect();
    await world.sql('east', 'delete from privacy_list_data');
    expect((await protect()).suspect).toMatch(/ACL items are gone$/);
    await world.sql(
      'east',
      `update tandem.home set site = 'west' where site = 'east' and username > (select min(username) from tandem.home)`,
    );
    expect((await protect()).suspect).toMatch(/users are gone$/);
  });

  it('by another database that took the place of the first', async () => {
    await protect();
    await world.sql('east', 'update tandem.identity set id = gen_random_uuid()');
    expect((await protect()).suspect).toBe('it was read from another database than those before');
  });
});

describe('a snapshot that shrank', () => {
  it('counts when the directory explains it, or when hardly anything is gone', async () => {
    await protect();
    const gone = `select username from tandem.home where site = 'east' order by 1 limit 40`;
    const names = (await world.sql('east', gone)).map((r) => r['username']);
    for (const site of ['east', 'west'] as const) {
      await world.sql(site, 'delete from tandem.home where username = any($1)', [names]);
    }
    await world.sql('east', 'delete from rosterusers where username = any($1)', [names]);
    expect((await protect()).suspect).toBeUndefined();
    await world.sql('east', `delete from rosterusers where ctid in (select ctid from rosterusers limit 20)`);
    expect((await protect()).suspect).toBeUndefined();
  });

  it('is judged by share and by number', () => {
    const counts = { users: 100, contacts: 10_000, groups: 0, lists: 0, aclItems: 40, defaults: 0 };
    expect(whyShrunk(counts, { ...counts, contacts: 9500 })).toBeNull();
    expect(whyShrunk(counts, { ...counts, contacts: 9499 })).toBe('501 of 10000 contacts are gone');
    expect(whyShrunk(counts, { ...counts, aclItems: 1 })).toBeNull(); // 39 rows: people do that.
    expect(whyShrunk(counts, { ...counts, aclItems: 0 })).toBe('40 of 40 ACL items are gone');
  });
});

describe('an acceptance', () => {
  it('is refused from a stranger, without the role, over other words, or by another key', async () => {
    await protect();
    await world.sql('east', 'truncate rosterusers');
    const receipt = await protect();
    await expect(keep(acceptance(receipt, { operator: 'eve' }))).rejects.toThrow('"eve" is no operator');
    await expect(keep(acceptance(receipt), ['operate'])).rejects.toThrow('lacks the role');
    await expect(keep({ ...acceptance(receipt), because: 'another reason' })).rejects.toThrow('does not hold');
    await expect(keep({ ...acceptance(receipt), operatorSignature: '00' })).rejects.toThrow('does not hold');
    expect((await newestCovered(shelf(), 'west'))?.receipt.snapshot.seq).toBe(1);
  });

  it('makes the snapshot count, and later ones that hold no less; not one that shrank further', async () => {
    await protect();
    await world.sql(
      'east',
      `delete from rosterusers where username < (select username from tandem.home where site = 'east' order by 1 offset 60 limit 1)`,
    );
    const receipt = await protect();
    expect(receipt.suspect).toBeDefined();
    const next = await protect();
    await keep(acceptance(receipt));
    expect((await newestCovered(shelf(), 'west'))?.receipt).toEqual(next);
    const { unapplied } = await world.pull('west');
    expect(unapplied).toEqual(next.snapshot);
    await apply(next);
    expect(await standbyRows()).toBe(next.counts.contacts);
    await world.sql('east', 'truncate rosterusers');
    await protect();
    expect((await newestCovered(shelf(), 'west'))?.receipt).toEqual(next);
  });
});
