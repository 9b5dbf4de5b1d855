import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Database } from '../../activities/contacts/database.ts';
import { ldapDirectory } from '../../activities/directory/ldap.ts';
import { READING_LIMITS, type Directory, type Entitled, type ReadingLimits } from '../../activities/directory/port.ts';
import { tableDirectory } from '../../activities/directory/table.ts';
import { prepareTables } from '../../ops/embedded/people/people.ts';
import { hasSlapd, loadPeople, type Person } from '../../ops/reference-service/slapd.ts';
import { failureKind, failureText } from '../../workflows/model/failures.ts';
import { scratchDatabase, type ScratchDatabase } from '../rig/databases.ts';
import { scratchSlapd, type ScratchSlapd } from '../rig/slapd.ts';

/** What every way to a directory promises (activities/directory/port.ts), on each of them. */

interface Ground {
  open: (limits?: Partial<ReadingLimits>) => Directory;
  /** As if it had never been. */
  load: (people: readonly Person[]) => Promise<void>;
  /** The same, out of reach. */
  gone: () => Directory;
  close: () => Promise<void>;
}

async function onSlapd(): Promise<Ground> {
  const slapd: ScratchSlapd = await scratchSlapd();
  return {
    open: (limits) => ldapDirectory(slapd.settings, { ...READING_LIMITS, ...limits }),
    load: (people) => loadPeople(slapd, people),
    gone: () => ldapDirectory({ ...slapd.settings, url: 'ldaps://127.0.0.1:1' }),
    close: slapd.close,
  };
}

async function onTable(): Promise<Ground> {
  const scratch: ScratchDatabase = await scratchDatabase('west');
  await prepareTables(scratch.url, 'contoso', 'west', ['east', 'west']);
  const limits = { connections: 2, connectMs: 3000, statementMs: 20_000 };
  const database = new Database('contacts', scratch.url, limits);
  const away = new Database('contacts', 'postgresql://tandem:x@127.0.0.1:1/contacts', limits);
  return {
    open: (change) => tableDirectory(database, { ...READING_LIMITS, ...change }),
    async load(people) {
      const entitled = people.filter((p) => p.entitled);
      await database.query('delete from tandem.directory where username = any($1)', [people.map((p) => p.username)]);
      await database.query('insert into tandem.directory select * from unnest($1::text[], $2::text[], $3::text[])', [
        entitled.map((p) => p.username),
        entitled.map((p) => p.home ?? null),
        entitled.map((p) => p.credentials ?? null),
      ]);
    },
    gone: () => tableDirectory(away),
    async close() {
      await database.close();
      await scratch.drop();
    },
  };
}

const never = new AbortController().signal;
async function all(directory: Directory, signal = never): Promise<Entitled[]> {
  const found: Entitled[] = [];
  for await (const page of directory.entitled(signal)) found.push(...page);
  return found;
}
const why = async (directory: Directory, signal = never): Promise<[string | undefined, string]> => {
  try {
    return [`no failure, but ${(await all(directory, signal)).length} users`, ''];
  } catch (error) {
    return [failureKind(error), failureText(error)];
  }
};

// slapd is not on every machine: root on Debian gets it by `npm test` itself, and CI is that.
describe.each([
  ['slapd', onSlapd, hasSlapd()],
  ['the table', onTable, true],
] as const)('a directory in %s', (_, make, there) => {
  // slapd is not on every machine: root on Debian gets it by `npm test` itself, and CI is that.
  describe.skipIf(!there)('which is there', () => {
    let ground: Ground;
    const people = Array.from({ length: 1500 }, (_unused, i): Person => ({
      username: `user${i}`,
      entitled: i % 3 !== 0,
      ...(i % 2 === 0 && { credentials: `secret-${i}` }),
      ...(i % 5 === 0 && { home: 'east' }),
    }));
    const entitled = people.filter((p) => p.entitled);
    beforeAll(async () => {
      ground = await make();
      await ground.load(people);
    });
    afterAll(() => ground.close());

    it('never ends normally with more than it may hold, or late: half an answer is none', async () => {
      expect(await why(ground.open({ most: 999 }))).toEqual([
        'directory-incomplete',
        expect.stringMatching(/more than 999/),
      ]);
      expect(await why(ground.open({ wholeMs: 0 }))).toEqual([
        'directory-unreachable',
        expect.stringMatching(/no whole answer/),
      ]);
    });

    it('never names anybody, nor his keys, when it fails', async () => {
      for (const directory of [ground.open({ most: 999 }), ground.gone()]) {
        const [kind, text] = await why(directory);
        expect(kind).toMatch(/^directory-/);
        expect(text).not.toMatch(/user\d|secret/);
      }
    });

    it('is unreachable, in seconds, when nobody is there', async () => {
      const begun = performance.now();
      expect((await why(ground.gone()))[0]).toBe('directory-unreachable');
      expect(performance.now() - begun).toBeLessThan(6000);
    });

    it('is whole when it is empty', async () => {
      const empty = await make();
      try {
        expect(await all(empty.open())).toEqual([]);
      } finally {
        await empty.close();
      }
    });

    it('stops at the signal, before it begins and in the middle', async () => {
      await expect(all(ground.open(), AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough');
      const controller = new AbortController();
      const seen: number[] = [];
      await expect(async () => {
        for await (const page of ground.open().entitled(controller.signal)) {
          seen.push(page.length);
          controller.abort(new Error('enough'));
        }
      }).rejects.toThrow('enough');
      expect(seen).toHaveLength(1);
    });

    it('gives all whom it entitles, once, with homes and keys, by pages', async () => {
      const sizes: number[] = [];
      const found: Entitled[] = [];
      for await (const page of ground.open().entitled(never)) {
        sizes.push(page.length);
        found.push(...page);
      }
      const known = new Map(found.map((e) => [e.username, e]));
      expect([found.length, known.size]).toEqual([entitled.length, entitled.length]);
      expect(Math.max(...sizes)).toBeLessThanOrEqual(1000);
      for (const { username, home, credentials } of entitled)
        expect(known.get(username)).toEqual({
          username,
          home: home ?? null,
          credentials: credentials === undefined ? [] : [credentials],
        });
    });

    it('follows what changes', async () => {
      await ground.load([
        { username: 'user1', entitled: false },
        { username: 'user0', entitled: true },
      ]);
      const names = new Set((await all(ground.open())).map((e) => e.username));
      expect([names.has('user1'), names.has('user0'), names.size]).toEqual([false, true, entitled.length]);
    });
  });
});
