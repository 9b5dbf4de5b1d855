import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compareWitness, makeWitness } from '../../ops/embedded/demo/witness.ts';
import { CONTACT_LIMIT, personOf, type Person } from '../../ops/embedded/people/life.ts';
import { editPeople } from '../../ops/embedded/people/edit.ts';
import { createPeople } from '../../ops/embedded/people/people.ts';
import { scratchDatabase, type ScratchDatabase } from '../rig/databases.ts';
import { sql } from '../rig/sql.ts';

const options = { seed: 'test', users: 600, domain: 'contoso.example' };
const everybody: Person[] = Array.from({ length: options.users }, (_, i) => personOf(i, options));
const digest = (people: Person[]): string => createHash('sha256').update(JSON.stringify(people)).digest('hex');

describe('the people', () => {
  it('are the same for the same seed and number, and others for another', () => {
    const again = (change: object): string => {
      const changed = { ...options, ...change };
      return digest(Array.from({ length: options.users }, (_, i) => personOf(i, changed)));
    };
    expect(again({})).toBe(digest(everybody));
    expect(again({ seed: 'other' })).not.toBe(digest(everybody));
  });

  it.each([options, { ...options, users: 21 }, { ...options, contacts: { exactly: 12 } }])(
    'say the same of each other, whoever of two is asked: %o',
    (of) => {
      const people = Array.from({ length: of.users }, (_, i) => personOf(i, of));
      const said = new Map(
        people.flatMap((p) => p.rosterusers.map((r) => [`${r[0]}@${of.domain} ${r[1]}`, `${r[3]}${r[4]}`])),
      );
      const names = new Set(people.map((p) => `${p.username}@${of.domain}`));
      const across: Record<string, string> = { BN: 'BN', NO: 'NI', NI: 'NO', TN: 'FN', FN: 'TN', NN: 'NN' };
      const pairs = [...said.keys()]
        .map((pair) => pair.split(' ') as [string, string])
        .filter(([, other]) => names.has(other));
      expect(pairs.length).toBeGreaterThan(of.users * 5);
      expect(
        pairs.filter(
          ([one, other]) => across[said.get(`${one} ${other}`) ?? ''] !== (said.get(`${other} ${one}`) ?? 'NN'),
        ),
      ).toEqual([]);
    },
  );

  it('look like life: a long tail up to the limit, and every oddity of an old database', () => {
    const contacts = everybody.map((p) => p.rosterusers.filter((r) => r[4] !== 'I').length);
    expect(Math.max(...contacts)).toBeLessThanOrEqual(CONTACT_LIMIT);
    expect(contacts.filter((n) => n > 200).length).toBeGreaterThan(0);
    const median = contacts.toSorted((a, b) => a - b)[contacts.length / 2] ?? 0;
    expect(median).toBeGreaterThan(10);
    expect(median).toBeLessThan(40);
    const rows = everybody.flatMap((p) => p.rosterusers);
    const groups = everybody.flatMap((p) => p.rostergroups.map((g) => JSON.stringify(g)));
    const has: Record<string, boolean> = {
      'a user without rows': everybody.some(
        (p) => p.rosterusers.length + p.rostergroups.length + p.privacy_list.length === 0,
      ),
      'an empty roster with a block list': everybody.some(
        (p) => p.rosterusers.length === 0 && p.privacy_list.length > 0,
      ),
      'a pending request': rows.some((r) => r[3] === 'N' && r[4] === 'I' && r[5] !== ''),
      'a NULL type': rows.some((r) => r[8] === null),
      'a distribution list': rows.some((r) => String(r[1]).startsWith('dl-')),
      'a duplicate group': new Set(groups).size < groups.length,
      'an orphaned group': everybody.some((p) => p.rostergroups.some((g) => !p.rosterusers.some((r) => r[1] === g[1]))),
      'an empty list': everybody.some((p) =>
        p.privacy_list.some((l, i) => l[1] === 'empty' && !p.privacy_list_data.some((d) => d[0] === i)),
      ),
      'a default that names no list': everybody.some((p) =>
        p.privacy_default_list.some((d) => !p.privacy_list.some((l) => l[1] === d[1])),
      ),
      'equal orders': everybody.some((p) => p.privacy_list.some((l) => l[1] === 'tie')),
      'a row of nobody’s list': everybody.some((p) => p.privacy_list_data.some((d) => d[0] === null)),
      'a quote': rows.some((r) => String(r[2]).includes("'")),
      'a tab': rows.some((r) => String(r[2]).includes('\t')),
      'a backslash': rows.some((r) => String(r[2]).includes('\\')),
      'a 4-byte character': rows.some((r) => /[\u{10000}-\u{10ffff}]/u.test(String(r[2]))),
    };
    expect(
      Object.entries(has)
        .filter(([, there]) => !there)
        .map(([what]) => what),
    ).toEqual([]);
    expect(JSON.stringify(everybody)).not.toContain('\\u0000');
  });
});

describe('in the databases', () => {
  let east: ScratchDatabase;
  let west: ScratchDatabase;
  const sites = ['east', 'west'] as const;

  beforeAll(async () => {
    [east, west] = await Promise.all([scratchDatabase('east'), scratchDatabase('west')]);
    await createPeople({
      seed: 'test',
      users: 300,
      customer: 'contoso',
      sites,
      urls: { east: east.url, west: west.url },
    });
  });
  afterAll(async () => {
    await Promise.all([east.drop(), west.drop()]);
  });

  it('accounts and homes are at both sites, contacts at home only', async () => {
    const accounts = 'select username, serverkey from users order by 1';
    expect(await sql(east.url, accounts)).toEqual(await sql(west.url, accounts));
    expect(await sql(east.url, 'select site, count(*)::int as n from tandem.home group by 1 order by 1')).toEqual([
      { site: 'east', n: 150 },
      { site: 'west', n: 150 },
    ]);
    const strangers =
      "select count(*)::int as n from rosterusers r join tandem.home h using (username) where h.site <> 'east'";
    expect(await sql(east.url, strangers)).toEqual([{ n: 0 }]);
  });

  it('each site may serve its own half and no other', async () => {
    const served =
      'select h.site, tandem.may_serve(h.username) as may, count(*)::int as n from tandem.home h group by 1, 2 order by 1, 2';
    expect(await sql(east.url, served)).toEqual([
      { site: 'east', may: true, n: 150 },
      { site: 'west', may: false, n: 150 },
    ]);
  });

  it('NULs are refused by PostgreSQL, so no record can hold one', async () => {
    await expect(sql(east.url, "select E'a\\x00b'")).rejects.toThrow(/0x00/);
  });

  it('a witness equals what it was made of, until somebody edits', async () => {
    await makeWitness(east.url, west.url, 'west'); // Nobody of west's half has rows at east.
    await makeWitness(east.url, east.url, 'east');
    expect(await compareWitness(east.url, 'east')).toBe(0);
    expect(await editPeople({ seed: 'x', url: east.url, site: 'east', users: 5 })).toBe(5);
    expect(await compareWitness(east.url, 'east')).toBeGreaterThan(5);
  });
});
