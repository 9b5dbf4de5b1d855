import { beforeAll, expect, it } from 'vitest';
import type { Site } from '../rig/databases.ts';
import { CUSTOMER, type WholeStack } from './whole-stack.ts';

/** The directory is lost, and stays so: what everybody says of that, and that the last answers of it are in force. */
export function lostDirectoryClaims(opened: () => Promise<WholeStack>): void {
  let all: WholeStack;
  let before: string | null | undefined;
  beforeAll(async () => {
    all = await opened();
    await all.withoutDirectory();
    before = (await all.state('east'))?.at;
  }, 120_000);

  it('leaves the last good answer in force, and cannot be asked for another', async () => {
    const checked = await all.tandem('directory', 'check', '--site', 'east');
    expect(checked.code).toBe(1);
    expect(checked.err).toMatch(/^Error: directory ldaps:.*ECONNREFUSED\nTry: /m);
    expect(await all.state('east')).toMatchObject({ at: before, disabled: 1 });
  });

  it('is told by everybody: how old its last good answer is, and that two sites go by different ones for longer than a period', async () => {
    const set = (site: Site, digest: string): Promise<unknown> =>
      all.at(site, `update tandem.directory_answer set digest_at = now() - interval '1 hour', digest = ${digest}`);
    await set('west', 'digest');
    await set('east', "'another'");
    await all.site('east').database(CUSTOMER).query("update tandem.directory_answer set failed = 'ECONNREFUSED'");
    // Nothing has failed at west, and nobody asks: a follower that does not run says nothing.
    await all.at('west', "update tandem.directory_answer set at = at - interval '1 hour', failed = null");
    const told = (await all.tandem('status')).out;
    expect(told).toMatch(
      /DIRECTORY, seen at east: .*last good answer is .* old: 59 users entitled, 1 disabled; it gives no later one/,
    );
    expect(told).toMatch(/DIRECTORY, seen at west: the directory's last good answer is 1 h \d\d min old/);
    const differs = 'the sites go by different answers of the directory since 1 h 00 min: 59 users are entitled at ';
    expect(told).toMatch(`\nDIRECTORY: ${differs}`);
    expect((await all.tandem('directory', 'show', '--site', 'west')).out).toMatch(`NOT ALIKE: ${differs}west`);
    const { out } = await all.tandem('doctor');
    expect(out).toMatch(/error, seen from west: directory of contoso at ldaps:.*: ECONNREFUSED\n {2}Try: Look whether/);
    expect(out).toMatch(`: ${differs}east`);
  });
}
