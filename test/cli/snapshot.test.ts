import { generateKeyPairSync, sign } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { keepAcceptance } from '../../activities/vault/accept.ts';
import { manifestKey } from '../../activities/vault/manifest.ts';
import { readManifest } from '../../activities/vault/open.ts';
import { packKey } from '../../activities/vault/pack-reader.ts';
import { rawHex } from '../../ops/keys.ts';
import { acceptanceText, type SnapshotSummary } from '../../workflows/model/snapshots.ts';
import { typed, type Said } from '../rig/cli.ts';
import { scratchVaults } from '../rig/vaults.ts';
import { overwrite, remove } from '../vault/damage.ts';
import { openWorld, type World } from '../vault/world.ts';
import { openKeyFolder, type KeyFolder, type Tree } from './ring.ts';

/** East: 1, a base; 2, changes upon it; 3, a base under another key. West's vault has all of them, and none of its own. */
let world: World;
let at: KeyFolder;
let file: string;
let second: SnapshotSummary;
/** Somebody with a list; his name, addresses and nicks are what nobody may read by accident. */
let user: string;
let personal: string[];

beforeAll(async () => {
  world = await openWorld(60);
  at = await openKeyFolder(world);
  const ring = new Map(Object.entries(at.keys));
  const k1 = { keys: { current: 'k1', ring } };
  await world.take('east', k1);
  await world.sql('east', `update rosterusers set nick = nick || 'é' where username < 'u00001'`);
  second = await world.take('east', { ...k1, read: 'changes' });
  await world.pull('west');
  await world.verify('west', second, k1);
  await world.sql('east', `delete from tandem.home where username = 'u000002'`);
  await world.take('east', { keys: { current: 'k2', ring } });
  await world.pull('west');
  file = await at.configure({ k1: { file: 'k1' }, k2: { file: 'k2' } }, 'k2', withDatabases);
  const [row] = await world.sql(
    'east',
    `select username from tandem.served join privacy_list using (username) join rosterusers using (username)
      join privacy_list_data using (id) order by username limit 1`,
  );
  user = String(row?.['username']);
  const rows = await world.sql(
    'east',
    `select username as text from tandem.home union select jid from rosterusers union select nick from rosterusers
      union select grp from rostergroups union select value from privacy_list_data`,
  );
  personal = rows.map((r) => String(r['text'])).filter((text) => text.length >= 6);
});
afterAll(async () => {
  await world.drop();
  await at.drop();
});

const withDatabases = (tree: Tree): unknown =>
  Object.assign(tree.customers['acme'] ?? {}, {
    databases: Object.fromEntries(
      ['east', 'west'].map((s) => [
        s,
        { url: { env: `URL_${s.toUpperCase()}` }, 'peer-url': { env: `URL_${s.toUpperCase()}` } },
      ]),
    ),
  });
const snapshot = (args: string, configuration = file): Promise<Said> =>
  typed(at.folder, ['snapshot', ...args.split(' ')], {
    TANDEM_CONFIG: configuration,
    URL_EAST: world.urls.east,
    URL_WEST: world.urls.west,
  });
const answer = async <T>(args: string): Promise<T> => JSON.parse((await snapshot(`${args} --json`)).out) as T;

describe('names, contacts and lists', () => {
  it('are never printed without being asked for: by any verb, in words or JSON, in answers or errors', async () => {
    const good = [
      'list --site west',
      'show --site west --of east',
      `show --site west --of east --user ${user}`,
      `show --site west --of east --user ${user} --json`,
      'verify --site east --seq 2',
      'diff --site east --from 1 --to 2 --limit 99',
      'diff --site west --of east --from 1 --to 3 --json',
      'diff --site east --from 2 --to live --limit 99',
      'diff --site west --of east --from 2 --to live --json',
    ];
    expect(personal.length).toBeGreaterThan(500);
    const refused = ['show --site west --user u000001', 'show --site east --user u000002 --json'];
    const said = await Promise.all([...good, ...refused].map((args) => snapshot(args)));
    expect(said.map(({ code }) => code)).toEqual([...good.map(() => 0), ...refused.map(() => 1)]);
    for (const { out, err } of said) {
      expect(out + err).not.toBe('');
      expect(personal.filter((text) => (out + err).includes(text))).toEqual([]);
    }
  });

  it('are all printed when they are, and cannot move the cursor', async () => {
    const { out, code } = await snapshot(`show --site east --seq 2 --user ${user} --show-contents`);
    const rows = await world.sql('east', 'select jid, nick from rosterusers where username = $1', [user]);
    const items = await world.sql(
      'east',
      `select value from privacy_list_data join privacy_list using (id) where username = $1`,
      [user],
    );
    for (const text of [...rows.map((r) => r['jid']), ...items.map((r) => r['value'])]) expect(out).toContain(text);
    expect(out).toContain(`User ${user}, id `);
    expect(out).toMatch(/^Contacts$/m);
    expect(out).toMatch(/^List ".*"/m);
    expect(code).toBe(0);
    await world.sql('east', `update rosterusers set nick = e'\\x1b[2J\\u202e\\n' where username = $1`, [user]);
    const seen = await snapshot(`diff --site east --from 2 --to live --show-names`);
    expect(seen.out).toContain(`${user}  changed: contacts +${rows.length} -${rows.length}`);
    await world.take('east', { keys: { current: 'k2', ring: new Map(Object.entries(at.keys)) } });
    const hostile = await snapshot(`show --site east --user ${user} --show-contents`);
    expect(hostile.out).toContain('"\\u{1b}[2J\\u{202e}\\u{a}"');
    // oxlint-disable-next-line no-control-regex -- Control characters are what must not come out.
    expect(hostile.out).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u202e]/);
    type Contents = { user: { username: string; contacts: { jid: string; nick: string }[] } };
    const told = await answer<Contents>(`show --site east --user ${user} --show-contents`);
    expect(told.user.username).toBe(user);
    expect(told.user.contacts.map(({ jid }) => jid).toSorted()).toEqual(rows.map((r) => String(r['jid'])).toSorted());
    expect(new Set(told.user.contacts.map(({ nick }) => nick))).toEqual(new Set(['\u001b[2J\u202e\n']));
  });
});

describe('snapshot show', () => {
  it('tells a base from changes, this one alone from what it stands on, and who verified it', async () => {
    type Facts = {
      kind: string;
      alone: { bytes: number };
      snapshot: SnapshotSummary;
      receipt: { site: string } | null;
      lockedUntil: string;
      previous: { state: string };
      keyIds: string[];
    };
    const facts = await answer<Facts>('show --site west --of east --seq 2');
    expect(facts).toMatchObject({
      kind: 'delta',
      keyIds: ['k1'],
      receipt: { site: 'west' },
      previous: { seq: 1, state: 'holds' },
      snapshot: second,
    });
    expect(facts.alone.bytes).toBeLessThan(facts.snapshot.bytes / 2);
    expect(Date.parse(facts.lockedUntil) - Date.now()).toBeGreaterThan(41 * 24 * 3_600_000);
    expect(await answer<Facts>('show --site east --seq 3')).toMatchObject({
      kind: 'base',
      keyIds: ['k2'],
      receipt: null,
      receiptUnknown: null,
    });
    expect((await snapshot('show --site west --of east --seq 2')).out).toMatch(
      /^Snapshot 2 of east in the vault of west\n[^]*kind +delta upon 1; base 1 of [^]*verified +by west at /,
    );
  });

  it('names versions and markers over a manifest that nobody should have written', async () => {
    expect((await snapshot('show --site east --seq 1')).out).not.toContain('TAMPERED');
    await overwrite(world.access.eastRoot, manifestKey({ ...second, seq: 1 }), '{}');
    await remove(world.access.eastRoot, manifestKey({ ...second, seq: 1 }));
    expect((await snapshot('show --site east --seq 1')).out).toMatch(
      /TAMPERED WITH +written over at 20.*, hidden by a delete marker at 20/,
    );
  });
});

describe('snapshot diff', () => {
  it('lists at most so many users, and all of them in JSON, each with the id that stands for him in the vault', async () => {
    type Answer = { users: object; different: { user: string; how: string }[] };
    const { out } = await snapshot('diff --site east --from 1 --to 2 --limit 2');
    const { users, different } = await answer<Answer>('diff --site east --from 1 --to 2 --limit 2');
    expect(users).toMatchObject({ added: 0, removed: 0, changed: different.length });
    expect(different.length).toBeGreaterThan(2);
    expect(out.match(/^ {2}[0-9a-f]{32} {2}changed: contacts/gm)).toHaveLength(2);
    expect(out).toContain(`and ${different.length - 2} more: `);
    const shown = await answer<{ user: { id: string } }>('show --site east --seq 2 --user u000004');
    expect(different.map(({ user: id }) => id)).toContain(shown.user.id);
    // Under another key he has another id; who differs is told all the same.
    const over = await snapshot('diff --site east --from 2 --to 3 --show-names');
    expect(over.out).toMatch(/users: 0 added, 1 removed, 0 changed/);
    expect(over.out).toMatch(/^ {2}u000002 {2}removed: contacts -\d+/m);
  });
});

describe('snapshot verify', () => {
  it('names all damage, and ends with one error and what to try', async () => {
    const found = await readManifest({ vault: world.vaults.west, id: second, publicKeys: world.publicKeys });
    const keys = (found?.manifest.packs ?? []).map(({ sha256 }) => packKey(second, sha256));
    expect((await snapshot('verify --site west --of east --seq 2')).out).toMatch(/is whole\.\n {2}2 packs, \d+ bytes/);
    const { west } = await scratchVaults();
    const broken = await at.configure({ k1: { file: 'k1' }, k2: { file: 'k2' } }, 'k2', (tree) => {
      Object.assign(tree.sites['west']?.vault ?? {}, { bucket: west.bucket });
    });
    await overwrite(west, manifestKey(second), found?.bytes ?? Buffer.alloc(0));
    await overwrite(west, keys[0] ?? '', 'nothing');
    const said = await snapshot('verify --site west --of east', broken);
    for (const key of keys) expect(said.out).toContain(key);
    expect(said.err).toMatch(
      /^Error: snapshot 2 of east in the vault of west: damaged in \d places, 30 of 30 users cannot be read.*\nTry: `tandem snapshot verify --site east --of east --seq 2`.*\n$/,
    );
    expect(said.code).toBe(1);
    const json = await snapshot('verify --site west --of east --json', broken);
    expect(JSON.parse(json.out)).toMatchObject({ whole: false, damage: [{}, {}, {}] });
  });
});

describe('what is not there', () => {
  const cases: [string, string, number, RegExp][] = [
    [
      'an unknown number',
      'show --site east --seq 99',
      1,
      /vault of east: no snapshot 99 of east; it holds 1 to \d\nTry: `tandem snapshot list --site east`/,
    ],
    [
      'no snapshot at all',
      'verify --site west',
      1,
      /vault of west: no snapshot of west\nTry: `tandem snapshot now --site west`/,
    ],
    [
      'a site that the customer does not have',
      'show --site east --of north',
      1,
      /site "north": acme is at east and west\n/,
    ],
    ['a number that is none', 'diff --site east --from one --to 2', 2, /'one' is invalid.*a number is expected/],
    ['contents of nobody', 'show --site east --show-contents', 1, /--show-contents: shows a user, and none is named\n/],
    ['a user whom it does not hold', 'show --site east --user nobody', 1, /does not hold user [0-9a-f]{32}\n/],
  ];
  it.each(cases)('%s: one error and what to try', async (_, args, code, text) => {
    const said = await snapshot(args);
    expect(said.err).toMatch(text);
    expect(said.err).toMatch(/^Error: .+\nTry: .+\n$/);
    expect(said.code).toBe(code);
  });

  it('a key, or a vault, is named too', async () => {
    const keyless = await at.configure({ k2: { file: 'k2' } }, 'k2');
    for (const args of [
      'verify --site east --seq 2',
      'diff --site east --from 1 --to 2',
      'show --site east --seq 2 --user x',
    ])
      expect((await snapshot(args, keyless)).err).toMatch(/^Error: .*key "k1", which is not in the ring\nTry: .+\n$/);
    const down = await at.configure({ k1: { file: 'k1' } }, 'k1', (tree) => {
      Object.assign(tree.sites['east']?.vault ?? {}, { endpoint: 'http://127.0.0.1:9' });
    });
    for (const args of ['show --site east', 'verify --site east', 'diff --site east --from 1 --to 2'])
      expect((await snapshot(args, down)).err).toMatch(/^Error: vault east: list .*ECONNREFUSED.*\nTry: .+\n$/);
    // The other vault says what it can: only the receipt is unknown.
    await world.take('west', { keys: { current: 'k1', ring: new Map(Object.entries(at.keys)) } });
    const said = await snapshot('show --site west', down);
    expect(said).toMatchObject({
      code: 0,
      out: expect.stringMatching(/verified +unknown: the vault of east does not answer/) as string,
    });
  });
});

describe('a suspect snapshot', () => {
  it('is shown as one, with the reason, and who accepted it', async () => {
    const k1 = { keys: { current: 'k1', ring: new Map(Object.entries(at.keys)) } };
    const taken = await world.take('west', k1);
    await world.pull('east');
    await world.verify('east', taken, { ...k1, judge: () => Promise.resolve('20 of 30 users are gone') });
    const show = async (): Promise<string> => (await snapshot('show --site east --of west')).out;
    expect(await show()).toMatch(/by east at .*, SUSPECT: 20 of 30 users are gone; nobody has accepted it$/m);
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    const { customer, site, gen, seq, manifest, counts } = taken;
    const said = {
      snapshot: { customer, site, gen, seq },
      manifest,
      counts,
      operator: 'op',
      because: 'a merger',
      at: taken.point,
    };
    const operatorSignature = sign(null, Buffer.from(acceptanceText(said)), privateKey).toString('hex');
    const operators = [{ id: 'op', key: rawHex(publicKey), roles: ['commander' as const] }];
    const keeper = { vault: world.vaults.east, site: 'east', signingKey: world.signingKeys.east, operators };
    await keepAcceptance(keeper, { format: 1, ...said, operatorSignature });
    expect(await show()).toMatch(/SUSPECT: 20 of 30 users are gone\n +accepted +by op at 20.*: a merger$/m);
  });
});
