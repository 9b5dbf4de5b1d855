import { mkdtemp, readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { askService } from '../../activities/services/management.ts';
import { readConfiguration } from '../../ops/config/configuration.ts';
import { settingsFor } from '../../ops/config/settings.ts';
import { down, killSite, livingProcesses, reset, status } from '../../ops/embedded/control.ts';
import { up, type Stack } from '../../ops/embedded/stack.ts';
import { hasThirdParty, pointThirdParty } from '../../ops/embedded/third-party.ts';
import { findEjabberd } from '../../ops/reference-service/ejabberd/installed.ts';
import { sql } from '../rig/sql.ts';

/** The stack with the service in it: two ejabberd that wait, closed, until somebody has given their sites a right to serve. */

// A real ejabberd is not on every machine: root on Debian gets it by `npm test` itself, and CI is that.
describe.skipIf(findEjabberd() === null)('the reference service in the stack', () => {
  let folder: string;
  let stack: Stack;
  const start = (): Promise<Stack> => up({ folder, workers: false, witness: false });
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tandem-stack-'));
    stack = await start();
  }, 60_000);
  afterAll(() => reset(folder));

  it('listens at an address of each site, and is told of with the rest', async () => {
    const told = (await status(folder)).filter(({ name }) => name === 'ejabberd');
    expect(told.map(({ site, state, host, port }) => [site, state, `${host}:${port}`])).toEqual([
      ['east', 'running', stack.sites['east']?.clients],
      ['west', 'running', stack.sites['west']?.clients],
    ]);
    expect(stack.sites['east']?.clients).toMatch(/^127\.0\.0\.2:/);
    // Not at every address: a port on loopback is not one on the network.
    const port = Number(stack.sites['east']?.clients?.split(':')[1]);
    await expect(
      new Promise((resolve, reject) => connect(port, '127.0.0.1').once('connect', resolve).once('error', reject)),
    ).rejects.toThrow('ECONNREFUSED');
  });

  it('can be asked by the site and by its peer, as the configuration that was written says', async () => {
    const configuration = await readConfiguration(stack.configuration);
    for (const site of ['east', 'west']) {
      const { services } = await settingsFor(configuration, site, { reportsFolder: folder });
      for (const management of [...services.values()].map((service) => service.management)) {
        if (!management) throw new Error('no management');
        // No worker has prepared a site: nobody may serve, and both know it.
        expect(await askService(management, 'tandem_rights', { host: 'contoso.example' }, { limitMs: 3000 })).toEqual(
          [],
        );
      }
    }
  });

  // Prosody is not on every machine: root on Debian gets it by `npm test` itself, and CI is that.
  it.skipIf(!hasThirdParty())(
    'has a third party that comes to the site which its own configuration names',
    async () => {
      const its = async (): Promise<string[]> => {
        const [process] = (await status(folder)).filter(({ site }) => site === 'third-party');
        const text = await readFile(join(folder, 'data', 'third-party', 'prosody', 'prosody.cfg.lua'), 'utf8');
        return [process?.state ?? '', process?.host ?? '', /SRV 0 0 \d+ ([\d.]+)\./.exec(text)?.[1] ?? ''];
      };
      expect(await its()).toEqual(['running', '127.0.0.5', '127.0.0.2']);
      await pointThirdParty(folder, 'west');
      expect(await its()).toEqual(['running', '127.0.0.5', '127.0.0.3']);
      await expect(pointThirdParty(folder, 'north')).rejects.toThrow('the stack has none of this name');
    },
  );

  it('keeps its tables apart from ours, also when it is started once more', async () => {
    const at = stack.sites['east']?.databaseUrl ?? '';
    await sql(at, 'create schema tandem');
    await down(folder);
    await start();
    expect(await sql(at, `select schemaname from pg_tables where tablename = 'rosterusers'`)).toEqual([
      { schemaname: 'public' },
    ]);
    await sql(at, 'drop schema tandem cascade');
  }, 60_000);

  it('is lost with its site, whole', async () => {
    await killSite(folder, 'east');
    expect((await livingProcesses(folder)).filter(({ site }) => site === 'east')).toEqual([]);
    expect((await status(folder)).find(({ site, name }) => site === 'west' && name === 'ejabberd')?.state).toBe(
      'running',
    );
  });

  it('says nothing secret in its configuration or its arguments', async () => {
    const token = await readFile(join(folder, 'secrets', 'west-ejabberd-own-token'), 'utf8');
    const [west] = (await livingProcesses(folder)).filter(({ name }) => name === 'ejabberd');
    for (const file of [stack.configuration, `/proc/${west?.pid}/cmdline`, `/proc/${west?.pid}/environ`])
      expect(await readFile(file, 'utf8')).not.toContain(token);
  });
});
