import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { inspectService } from '../../activities/services/inspect.ts';
import type { ManagementAccess } from '../../activities/settings.ts';
import { DOMAIN, ejabberd, startServiceSites, type ServiceSites } from '../rig/service.ts';

/** What `tandem doctor` says of an ejabberd that would betray a restore. */

let service: ServiceSites;
type Entry = Record<string, unknown>;
type Tree = Entry & { modules: Record<string, Entry>; listen: Entry[] };

const found = async (access: ManagementAccess): Promise<string[]> =>
  (await inspectService(access, { site: 'east', domain: DOMAIN })).map(({ observed }) => observed);

/** Looks until this is found: ejabberd goes on reloading behind the back of whoever asked for that. */
async function finds(expected: unknown[]): Promise<void> {
  await expect.poll(async () => (await found(service.api('east'))).toSorted(), { timeout: 8000 }).toEqual(expected);
}

/** What is found while ejabberd has another configuration; it has its own again afterwards. */
async function findsWith(change: (tree: Tree) => unknown, expected: unknown[]): Promise<void> {
  const file = join(service.home('east'), 'ejabberd.yml');
  const before = await readFile(file, 'utf8');
  const reload = async (text: string): Promise<void> => {
    await writeFile(file, text);
    expect(await service.inErlang('east', 'ejabberd_config', 'reload')).toMatch(/\bok\b/); // Its warnings come before it or after.
  };
  const tree = parse(before) as Tree;
  change(tree);
  try {
    await reload(stringify(tree));
    await finds(expected);
  } finally {
    await reload(before);
    await finds([]);
  }
}

// A real ejabberd is not on every machine: root on Debian gets it by `npm test` itself, and CI is that.
describe.skipIf(ejabberd === null)('an ejabberd', () => {
  beforeAll(async () => {
    if (ejabberd) service = await startServiceSites(ejabberd, { anna: 'east' });
  }, 60_000);
  afterAll(() => service?.close(), 30_000);

  it('as the reference service has it is without fault', () => finds([]));

  it('that keeps in memory or in Mnesia what a restore writes is named, option by option', async () => {
    const change = (tree: Tree): void => {
      tree['auth_use_cache'] = true;
      tree.modules['mod_privacy'] = { use_cache: true };
      tree.modules['mod_roster'] = { db_type: 'mnesia' };
      delete tree.modules['mod_blocking'];
    };
    await findsWith(change, [
      'auth_use_cache: true; an account that was disabled would still sign in',
      'modules.mod_privacy.use_cache: true; what a restore brings, a block list too, would not be in force',
      'modules.mod_roster.db_type: mnesia; it must be sql',
      'modules: mod_blocking is not among them; contacts and block lists need it',
    ]);
  });

  it('that takes in five at once leaves a storm of sign-ins hanging: that is named', async () => {
    const change = ({ listen }: Tree): void => {
      for (const listener of listen) if (listener['module'] === 'ejabberd_c2s') delete listener['backlog'];
    };
    const expected =
      /^listen: port \d+: backlog: 5; at least 100, or who comes from a lost site with all others hangs$/;
    await findsWith(change, [expect.stringMatching(expected)]);
  });

  it('without mod_tandem serves whoever signs in: that is an error', async () => {
    await findsWith((tree) => delete tree.modules['mod_tandem'], [expect.stringContaining('it has no mod_tandem')]);
  });

  it('without the message filter is named, although it delivers', async () => {
    await findsWith(
      (tree) => delete tree.modules['mod_tandem_filter'],
      ['modules: mod_tandem_filter is not among them; what users send is not filtered'],
    );
  });

  it('that cannot be asked is an error that says why', async () => {
    const good = service.api('east');
    expect(await found({ ...good, token: 'wrong' })).toEqual([expect.stringContaining('refuses the token')]);
    expect(await found({ ...good, ca: null })).toEqual([expect.stringContaining('certificate is not trusted')]);
    expect(await found({ ...good, url: 'https://127.0.0.2:9/api' })).toEqual([
      expect.stringContaining('does not answer'),
    ]);
    process.kill(service.processes.east.pid, 'SIGSTOP');
    expect(await found(good)).toEqual([expect.stringContaining('no whole answer within 4000 ms')]);
    process.kill(service.processes.east.pid, 'SIGCONT');
  });
});
