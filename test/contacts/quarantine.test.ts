import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readQuarantine, releaseText, releaseUsers, type Release } from '../../activities/contacts/quarantine.ts';
import { restoreSnapshot } from '../../activities/contacts/restore.ts';
import { applyStandby } from '../../activities/contacts/standby.ts';
import { fetchPack, openPack, rangesOf } from '../../activities/vault/pack-reader.ts';
import { openSnapshot, type OpenSnapshot } from '../../activities/vault/open.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import type { Approver } from '../../workflows/model/plan.ts';
import { scratchVaults } from '../rig/vaults.ts';
import { copyVault, flipped } from '../vault/damage.ts';
import { CUSTOMER, openWorld, quiet, type World } from '../vault/world.ts';
import { copyRows, differences } from './same.ts';

let world: World;
let bad: string;
beforeEach(async () => {
  world = await openWorld(120, { exactly: 300 });
  const [row] = await world.sql(
    'east',
    `select min(username collate "C") as name from tandem.home where site = 'east'`,
  );
  bad = String(row?.['name']);
  // A deny that the service drops without a word.
  await world.sql('east', `insert into privacy_list (username, name) values ($1, 'odd')`, [bad]);
  await addItem('x');
});
afterEach(() => world.drop());

const addItem = (type: string) =>
  world.sql(
    'east',
    `insert into privacy_list_data select id, $2, 'eve@x', 'd', 1, true, false, false, false, false
       from privacy_list where username = $1 and name = 'odd'`,
    [bad, type],
  );
const apply = async (opened: OpenSnapshot) =>
  applyStandby({ database: world.databases.west, site: 'west', snapshot: opened, keys: world.keys, ...quiet });
const protect = async () => apply(await world.open('east', await world.take('east')));
/** West serves the users of east from now on. */
const move = async (): Promise<void> => {
  await world.sql('west', `update tandem.epoch set number = 2, site = 'west', move = 'm'`);
  await world.sql('west', `update tandem.serving set site = 'west', epoch = 2`);
};
const letIn = async (who = bad): Promise<unknown> =>
  (await world.sql('west', 'select tandem.may_serve($1) as yes', [who]))[0]?.['yes'];
const unserved = async (): Promise<unknown> =>
  (await world.sql('west', `select count(*)::int as n from tandem.home where not tandem.may_serve(username)`))[0]?.[
    'n'
  ];

const operator = generateKeyPairSync('ed25519');
const operators: Approver[] = [
  {
    id: 'operator-1',
    key: operator.publicKey.export({ format: 'der', type: 'spki' }).subarray(-32).toString('hex'),
    roles: ['approve'],
  },
];
const release = async (changes: Partial<Release> = {}, key: KeyObject = operator.privateKey): Promise<void> => {
  const [held] = await readQuarantine(world.databases.west, [bad]);
  const word = {
    customer: CUSTOMER,
    site: 'west',
    username: bad,
    recordId: held?.recordId ?? '',
    operator: 'operator-1',
    because: 'seen',
    at: new Date().toISOString(),
    ...changes,
  };
  const signature = sign(null, Buffer.from(releaseText(word)), key).toString('hex');
  await releaseUsers(world.databases.west, operators, [{ ...word, signature }]);
};

describe('a user whose ACL the service could not read', () => {
  it('is not let in where he is moved to, and he alone', async () => {
    expect(await protect()).toMatchObject({ users: 60, quarantined: 1 });
    await move();
    expect(await letIn()).toBe(false);
    expect(await unserved()).toBe(1);
    expect(await readQuarantine(world.databases.west)).toMatchObject([
      { username: bad, because: expect.stringContaining('its type is none of') as string, release: null },
    ]);
  });

  it('is held though his rows are known to be equal, when nobody has judged them by these rules', async () => {
    await protect();
    for (const judged of ['null', '1']) {
      await world.sql('west', 'delete from tandem.quarantine'); // As a copy stands that an older Tandem wrote.
      await world.sql('west', `update tandem.ledger set judged = ${judged}`);
      expect(await protect()).toMatchObject({ written: 0, quarantined: 1 });
    }
    await move();
    expect(await letIn()).toBe(false);
  });

  it('is told of by each run that finds him held, though it reads nothing of his', async () => {
    await protect();
    expect(await protect()).toMatchObject({ written: 0, quarantined: 1 });
    await release();
    expect(await protect()).toMatchObject({ written: 0, quarantined: 0 });
  });

  it('stands as his record says: nothing is dropped', async () => {
    const copy = await copyRows(world, 'east', 'east');
    await protect();
    expect(await differences(world, 'west', 'east', copy)).toBe(0);
  });

  it('goes on being protected by the site that serves the others', async () => {
    await protect();
    await move();
    const taken = await world.take('west');
    expect(taken.counts.users).toBe(120);
    expect(await (await world.open('west', taken)).record(bad)).not.toBeNull();
  });

  it('is let in by an operator who signs for it, and stays so when the same record comes again', async () => {
    await protect();
    await move();
    await release();
    expect(await letIn()).toBe(true);
    await world.sql('west', `update tandem.epoch set number = 1`); // As before the move: the peer's snapshots are applied again.
    await world.sql('west', `update tandem.serving set site = half, epoch = 1`);
    await world.sql('west', `delete from tandem.salvage`); // Nobody was served here by then.
    await world.sql('west', `delete from tandem.ledger`);
    await protect();
    await move();
    expect(await letIn()).toBe(true);
  });

  it('is let in by nobody else', async () => {
    await protect();
    await move();
    await expect(release({}, generateKeyPairSync('ed25519').privateKey)).rejects.toMatchObject({
      type: 'signature-invalid',
    });
    await expect(release({ operator: 'operator-2' })).rejects.toMatchObject({ type: 'signature-invalid' });
    await expect(release({ recordId: '00'.repeat(16) })).rejects.toMatchObject({ type: 'input-invalid' });
    await expect(release({ username: 'nobody' })).rejects.toMatchObject({ type: 'input-invalid' });
    expect(await letIn()).toBe(false);
  });

  it('is held anew when another record of his cannot be read', async () => {
    await protect();
    await release();
    await addItem('y');
    await protect();
    await move();
    expect(await letIn()).toBe(false);
  });

  it('is let in when his record is mended at the source', async () => {
    await protect();
    await world.sql('east', `update privacy_list_data set t = 'j' where t = 'x'`);
    expect(await protect()).toMatchObject({ quarantined: 0 });
    await move();
    expect(await letIn()).toBe(true);
    expect(await readQuarantine(world.databases.west)).toEqual([]);
  });
});

describe('a restore', () => {
  const restore = (snapshot: OpenSnapshot, dryRun = false) =>
    restoreSnapshot({
      database: world.databases.west,
      snapshot,
      halves: ['east'],
      guard: null,
      ledger: { snapshot: snapshot.summary, epoch: 1, keys: world.keys },
      dryRun,
      ...quiet,
    });

  it('holds whom the service could not read, tells so beforehand, and twice the same', async () => {
    const opened = await world.open('east', await world.take('east'));
    expect(await restore(opened, true)).toMatchObject({ quarantined: 1 });
    expect(await readQuarantine(world.databases.west)).toEqual([]);
    expect(await restore(opened)).toMatchObject({ written: 60, quarantined: 1 });
    await move();
    expect(await letIn()).toBe(false);
    await world.sql('west', 'delete from tandem.ledger');
    expect(await restore(opened)).toMatchObject({ written: 0, quarantined: 1 });
    expect(await unserved()).toBe(1);
    expect(await restore(opened)).toMatchObject({ written: 0, quarantined: 1 });
  });

  it('and the standby copy bring all others when the tables refuse the rows of one', async () => {
    await world.sql('east', 'drop index i_rosteru_user_jid');
    await world.sql(
      'east',
      `insert into rosterusers (username, jid, nick, subscription, ask, askmessage, server, subscribe, type)
       select $1, 'twice@x', n::text, 'B', 'N', '', 'N', '', 'item' from generate_series(1, 2) n`,
      [bad],
    );
    const opened = await world.open('east', await world.take('east'));
    expect(await apply(opened)).toMatchObject({ users: 59, written: 59, held: 0, quarantined: 1 });
    expect(await restore(opened)).toMatchObject({ users: 59, written: 0, quarantined: 1 });
    await move();
    expect(await letIn()).toBe(false);
    expect(await unserved()).toBe(1);
    expect(await world.sql('west', 'select from rosterusers where username = $1', [bad])).toEqual([]);
  });

  it('that can read nobody fails, for an older snapshot to be chosen', async () => {
    const whole = await world.open('east', await world.take('east'));
    const elsewhere = await scratchVaults();
    const vault = new S3Vault(elsewhere.east);
    try {
      const { keys, publicKeys } = world;
      const spans = new Map<string, number[]>();
      for (const ref of (await whole.index()).packs) {
        const bytes = await fetchPack(world.vaults.east, whole.manifest, ref);
        const { footer } = await openPack(rangesOf(bytes, ref.footer, 'pack'), keys, whole.manifest, ref.keyId);
        spans.set(
          ref.sha256,
          footer.frames.map(({ offset }) => offset + 20),
        );
      }
      await copyVault(world.vaults.east, vault, (key, bytes) =>
        (spans.get(key.split('/').at(-1) ?? '') ?? []).reduce((pack, at) => flipped(pack, at), bytes),
      );
      const damaged = await openSnapshot({ vault, keys, publicKeys, id: whole.summary });
      await expect(restore(damaged)).rejects.toMatchObject({ type: 'snapshot-damaged' });
      await move();
      expect(await unserved()).toBe(60);
    } finally {
      vault.close();
    }
  });

  it('brings all others when a frame is damaged, and holds those who were in it as they are', async () => {
    const whole = await world.open('east', await world.take('east'));
    const names = (await whole.index()).packs.map(({ sha256 }) => sha256);
    const elsewhere = await scratchVaults();
    const vault = new S3Vault(elsewhere.east);
    try {
      // Some way into the first of several frames.
      await copyVault(world.vaults.east, vault, (key, bytes) =>
        names.some((name) => key.endsWith(name)) ? flipped(bytes, 1000) : bytes,
      );
      const { keys, publicKeys } = world;
      const damaged = await openSnapshot({ vault, keys, publicKeys, id: whole.summary });
      const counts = await restore(damaged);
      expect(counts.unreadable).toBeGreaterThan(0);
      expect(counts.users + counts.unreadable).toBe(60);
      expect(counts.users).toBeGreaterThan(0);
      await move();
      expect(await unserved()).toBe(counts.unreadable + counts.quarantined);
      const held = await readQuarantine(world.databases.west);
      expect(held.filter(({ because }) => because.includes('cannot be read'))).toHaveLength(counts.unreadable);
      // The whole snapshot lets them in.
      await world.sql('west', `update tandem.epoch set number = 1`);
      await restore(whole);
      expect(await readQuarantine(world.databases.west)).toMatchObject([{ username: bad }]);
    } finally {
      vault.close();
    }
  });
});
