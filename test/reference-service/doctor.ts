import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { beforeAll, describe, expect, it } from 'vitest';
import { inspectService } from '../../activities/services/inspect.ts';
import { inspectModules } from '../../activities/services/modules.ts';
import type { CustomerSettings, ManagementAccess, SiteSettings } from '../../activities/settings.ts';
import { freeze } from '../rig/freeze.ts';
import { DOMAIN, type ServiceSites } from '../rig/service.ts';

/** What `tandem doctor` says of an ejabberd that would betray a restore. */

let service: ServiceSites;
type Entry = Record<string, unknown>;
type Tree = Entry & { modules: Record<string, Entry>; listen: Entry[] };

const found = async (access: ManagementAccess): Promise<string[]> =>
  (await inspectService(access, { site: 'east', domain: DOMAIN })).map(({ observed }) => observed);

/** Looks until this is found: ejabberd goes on reloading behind the back of whoever asked for that. */
async function finds(expected: unknown[]): Promise<void> {
  await expect.poll(async () => (await found(service.api('east'))).toSorted()).toEqual(expected);
}

const configuration = (): string => join(service.home('east'), 'ejabberd.yml');

async function reload(text: string): Promise<void> {
  await writeFile(configuration(), text);
  expect(await service.inErlang('east', 'ejabberd_config', 'reload')).toMatch(/\bok\b/); // Its warnings come before it or after.
}

/** What is found while ejabberd has another configuration; it has its own again afterwards. */
async function findsWith(change: (tree: Tree) => unknown, expected: unknown[]): Promise<void> {
  const before = await readFile(configuration(), 'utf8');
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

/** The same for options of mod_tandem, which count from its start: it is taken away, and comes back with these. */
async function findsNamed(
  options: Record<string, string>,
  expected: unknown[],
  meanwhile: () => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  const before = await readFile(configuration(), 'utf8');
  const [gone, changed] = [parse(before) as Tree, parse(before) as Tree];
  delete gone.modules['mod_tandem'];
  Object.assign(changed.modules['mod_tandem'] ?? {}, options);
  const start = async (text: string, then: unknown[]): Promise<void> => {
    await reload(stringify(gone));
    await finds([expect.stringContaining('it has no mod_tandem')]);
    await reload(text);
    await finds(then);
  };
  try {
    await start(stringify(changed), expected);
    await meanwhile();
  } finally {
    await start(before, []);
  }
}

export function doctor(opened: () => ServiceSites): void {
  describe('an ejabberd', () => {
    beforeAll(() => {
      service = opened();
    });

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

    it('under the name of the other site serves nobody, and is told whose database it has', () =>
      findsNamed(
        { site: 'west', peer: 'east' },
        ['modules.mod_tandem.site: west; this database is that of east'],
        async () => expect(await service.inErlang('east', 'mod_tandem', 'rights', DOMAIN)).toBe('[]'),
      ));

    it('whose peer has another name, or another cookie, is told so', async () => {
      const link = 'modules.mod_tandem.peer_node:';
      await findsNamed({ peer: 'wset' }, ['modules.mod_tandem.peer: wset; the other site is west']);
      await findsNamed({ peer_node: 'wset@127.0.0.3' }, [
        `${link} wset@127.0.0.3 is not connected: it is there, and refuses: another cookie, or another name`,
      ]);
      await findsNamed({ peer_node: 'west@127.0.0.77' }, [
        `${link} west@127.0.0.77 is not connected: nothing answers there`,
      ]);
    }, 60_000);

    it('that would miss a silent peer only after a minute is told how long', async () => {
      const ticks = (seconds: string): Promise<string> =>
        service.inErlang('east', 'net_kernel', 'set_net_ticktime', { term: seconds }, { term: '0' });
      await ticks('60');
      await finds(['net_ticktime: 60 s; a peer that swallows packets is missed only then, at most 15 is allowed']);
      await ticks('8');
      await finds([]);
    });

    it('that lets clients in past the right to serve is named', async () => {
      await findsWith(
        (tree) => (tree.modules['mod_mqtt'] = {}),
        ['modules: mod_mqtt; its clients are not asked for the right to serve'],
      );
    });

    it('without the message filter is named, although it delivers', async () => {
      await findsWith(
        (tree) => delete tree.modules['mod_tandem_filter'],
        ['modules: mod_tandem_filter is not among them; what users send is not filtered'],
      );
    });

    describe('that lacks a module', () => {
      const account = { user: 'a', password: 'x' };
      const target = { clients: 'e:1', web: 'https://e', address: null, resolver: null, ca: null };
      const probes = {
        targets: new Map([['east', target]]),
        accounts: new Map([['east', { first: account, second: account, third: account }]]),
        partner: null,
        limitMs: 5000,
      };
      const told = async (customer: Partial<CustomerSettings>, token = 'own-east'): Promise<string[]> => {
        const own = { clients: 'e:1', api: null, outsideCheck: null, management: service.api('east', token) };
        const site = { site: 'east', services: new Map([['east', own]]) } as unknown as SiteSettings;
        const of = { id: 'acme', domain: DOMAIN, options: [], ...customer } as unknown as CustomerSettings;
        return (await inspectModules(site, of)).map(({ severity, observed }) => `${severity}: ${observed}`);
      };

      it('is named with each service that cannot work, of those that are looked at or were bought', async () => {
        const web = [
          'error: audio-video cannot work: mod_stun_disco is not among its modules',
          'error: file-transfer cannot work: mod_http_upload is not among its modules',
          'error: web-access cannot work: mod_bosh is not among its modules',
        ];
        expect((await told({ probes })).toSorted()).toEqual(web);
        expect((await told({ options: ['content-archiving', 'third-party-federation'] })).toSorted()).toEqual([
          'error: archiving cannot work: mod_mam, mod_tandem_archive are not among its modules',
          'error: third-party-federation cannot work: mod_tandem_federation is not among its modules',
        ]);
        expect(await told({})).toEqual([]);
      });

      it('is not found out by who may not ask: that is said', async () => {
        expect(await told({ probes }, 'peer-east')).toEqual([
          'warning: which modules it has was not seen (tandem_modules: answered with 403)',
        ]);
        expect(await told({ probes }, 'nobody')).toEqual([]); // It refuses the token: that is told once, elsewhere.
      });
    });

    it('that cannot be asked is an error that says why', async () => {
      const good = service.api('east');
      expect(await found({ ...good, token: 'wrong' })).toEqual([expect.stringContaining('refuses the token')]);
      expect(await found({ ...good, ca: null })).toEqual([expect.stringContaining('certificate is not trusted')]);
      expect(await found({ ...good, url: 'https://127.0.0.2:9/api' })).toEqual([
        expect.stringContaining('does not answer'),
      ]);
      await freeze(service.processes.east.pid);
      try {
        expect(await found(good)).toEqual([expect.stringContaining('no whole answer within 4000 ms')]);
      } finally {
        process.kill(service.processes.east.pid, 'SIGCONT');
      }
    });
  });
}
