import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { askService } from '../../activities/services/management.ts';
import { readConfiguration } from '../../ops/config/configuration.ts';
import { settingsFor } from '../../ops/config/settings.ts';
import { killProcess, livingProcesses, status } from '../../ops/embedded/control.ts';
import { hasThirdParty, pointThirdParty } from '../../ops/embedded/third-party.ts';
import { DOMAIN, SITES, type WholeStack } from './whole-stack.ts';

/** The stack with the service in it: two ejabberd that wait, closed, until somebody has given their sites a right to serve. */
export function serviceClaims(opened: () => Promise<WholeStack>): void {
  let all: WholeStack;
  beforeAll(async () => {
    all = await opened();
  });

  it('listens at an address of each site, and is told of with the rest', async () => {
    const { folder, stack } = all;
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
    const configuration = await readConfiguration(all.stack.configuration);
    for (const site of SITES) {
      const { services } = await settingsFor(configuration, site, { reportsFolder: all.folder });
      for (const management of [...services.values()].map((service) => service.management)) {
        if (!management) throw new Error('no management');
        // No worker has prepared a site: nobody may serve, and both know it.
        expect(await askService(management, 'tandem_rights', { host: DOMAIN }, { limitMs: 3000 })).toEqual([]);
      }
    }
  });

  // Prosody is not on every machine: root on Debian gets it by `npm test` itself, and CI is that.
  it.skipIf(!hasThirdParty())(
    'has a third party that comes to the site which its own configuration names',
    async () => {
      const { folder } = all;
      const its = async (): Promise<string[]> => {
        const [process] = (await status(folder)).filter(({ site }) => site === 'third-party');
        const text = await readFile(join(folder, 'data', 'third-party', 'prosody', 'prosody.cfg.lua'), 'utf8');
        return [process?.state ?? '', process?.host ?? '', /SRV 0 0 \d+ ([\d.]+)\./.exec(text)?.[1] ?? ''];
      };
      expect(await its()).toEqual(['running', '127.0.0.5', '127.0.0.2']);
      await pointThirdParty(folder, 'west');
      expect(await its()).toEqual(['running', '127.0.0.5', '127.0.0.3']);
      await expect(pointThirdParty(folder, 'north')).rejects.toThrow('the stack has none of this name');
      await pointThirdParty(folder, 'east');
    },
  );

  it('keeps its tables apart from ours, also when its servers are started once more', async () => {
    const running = await livingProcesses(all.folder);
    const names = ['ejabberd', 'haproxy', 'bind', 'prosody', 'slapd'] as const;
    // West's are of the same kind, and an ejabberd takes four seconds of a core to start.
    const servers = running
      .filter(({ site }) => site !== 'west')
      .flatMap(({ site, name, pid }) => names.filter((one) => one === name).map((one) => ({ site, name: one, pid })));
    // A table that is made without its schema named comes into the first of the role's own.
    await all.at('east', 'create schema tandem');
    await Promise.all(servers.map(({ site, name }) => killProcess(all.folder, site, name, 'SIGTERM')));
    await all.start();
    const now = (await status(all.folder)).filter(({ site, name }) =>
      servers.some((s) => s.site === site && s.name === name),
    );
    expect(now.map(({ state }) => state)).toEqual(servers.map(() => 'running'));
    expect(now.filter(({ pid }) => servers.some((s) => s.pid === pid))).toEqual([]);
    expect(await all.at('east', `select schemaname from pg_tables where tablename = 'rosterusers'`)).toEqual([
      { schemaname: 'public' },
    ]);
  }, 60_000);

  it('says nothing secret in its configuration or its arguments', async () => {
    const token = await readFile(join(all.folder, 'secrets', 'west-ejabberd-own-token'), 'utf8');
    const west = (await livingProcesses(all.folder)).find(({ site, name }) => site === 'west' && name === 'ejabberd');
    for (const file of [all.stack.configuration, `/proc/${west?.pid}/cmdline`, `/proc/${west?.pid}/environ`])
      expect(await readFile(file, 'utf8')).not.toContain(token);
  });
}
