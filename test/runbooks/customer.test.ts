import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse as parseYaml, stringify } from 'yaml';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { parseRunbook, type RunbookUse } from '../../runbooks/load.ts';
import { typed, type Said } from '../rig/cli.ts';

/** A customer's own runbooks, and what the configuration says of them. */

const steps = `
  - { id: epoch, act: advance-epoch }
  - { id: fence, act: fence-site, needs: [epoch] }
  - { id: warn, act: call-http, request: warn-pbx, needs: [epoch] }
  - { id: tell, act: run-command, command: tell-desk, needs: [epoch] }
  - { id: contacts, act: restore-contacts, needs: [epoch], timeout: 30m }
  - { id: serve, act: serve-users, needs: [fence, contacts] }
`;
const runbook = `kind: failover\nname: Ours\nsteps:${steps}`;
const west = { where: 'west', names: { request: ['warn-pbx', 'warn-phones'], command: ['tell-desk'] } };

describe('a runbook is refused', () => {
  const faults = (use: RunbookUse, text = runbook): string[] => {
    const parsed = parseRunbook('r.yaml', Buffer.from(text), use);
    return 'faults' in parsed ? parsed.faults.map((f) => `${f.at} ${f.path}: ${f.text}`) : [];
  };

  it('with a name that a site does not list', () => {
    const east = { where: 'east', names: { request: ['warn-pbc'], command: [] } };
    expect(faults({ places: [west, east] })).toEqual([
      'r.yaml:6:42 steps.2.request: "warn-pbx" is no request of east; did you mean warn-pbc? allowed: warn-pbc',
      'r.yaml:7:44 steps.3.command: "tell-desk" is no command of east; east lists none',
    ]);
    expect(faults({ places: [west] })).toEqual([]);
    expect(faults({ places: [{ where: 'north', names: {} }] })).toEqual([]);
  });

  it('with such a name and all its other faults at once', () => {
    const wrong = runbook.replace('warn-pbx', 'warn-pxb').replace('30m', '25h');
    expect(faults({ places: [west] }, wrong).map((line) => line.slice(0, 11).trim())).toEqual([
      'r.yaml:6:42',
      'r.yaml:8:69',
    ]);
  });

  it('when it is of another kind than it stands for', () => {
    expect(faults({ kind: 'evacuation' })).toEqual([
      'r.yaml:1:7 kind: "failover"; it stands for evacuation in the configuration',
    ]);
    expect(faults({ kind: 'failover' })).toEqual([]);
  });

  it('when it cannot fit the RTO of its customer', () => {
    expect(faults({ rtoMs: 30 * 60_000 })[0]).toMatch(/steps\.5\.needs: up to here it may take 31 min.* RTO is 30 min/);
    expect(faults({ rtoMs: 31 * 60_000 })).toEqual([]);
  });
});

describe('tandem', () => {
  let folder: string;
  let config: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tandem-runbooks-'));
    config = join(folder, 'tandem.yaml');
    await writeFile(join(folder, 'ours.yaml'), runbook);
    await write();
  });
  afterAll(() => rm(folder, { recursive: true }));

  type Tree = Record<string, Record<string, Record<string, unknown>>>;
  async function write(change: (tree: Tree) => unknown = () => undefined): Promise<void> {
    const tree = parseYaml(await readFile(inject('stack').configuration, 'utf8')) as Tree;
    for (const site of ['east', 'west']) {
      const at = tree['sites']?.[site];
      if (at)
        Object.assign(at, {
          requests: { 'warn-pbx': { url: 'https://pbx.example/warn' } },
          commands: { 'tell-desk': { run: ['/usr/local/bin/tell-desk'] } },
        });
    }
    Object.assign(tree['customers']?.['contoso'] ?? {}, { runbooks: { failover: 'ours.yaml' } });
    change(tree);
    await writeFile(config, stringify(tree));
  }
  const tandem = (...args: string[]): Promise<Said> => typed(folder, args, { TANDEM_CONFIG: config });

  it('config check names every fault of every runbook, at its line', async () => {
    await writeFile(join(folder, 'slow.yaml'), runbook.replace('id: warn,', 'id: warn, timeout: 26h,'));
    await write((tree) => {
      Object.assign(tree['customers']?.['contoso'] ?? {}, {
        runbooks: { failover: 'slow.yaml', evacuation: 'ours.yaml', relocate: 'gone.yaml' },
        objectives: { rpo: '8h', rto: '40m' },
      });
      delete tree['sites']?.['east']?.['commands'];
    });
    const { err, code } = await tandem('config', 'check');
    expect(code).toBe(1);
    expect(err).toContain(
      `${folder}/slow.yaml:6:26: steps.2.timeout: "26h"; at most 24h is allowed (failover of contoso)`,
    );
    expect(err).toMatch(/slow\.yaml:7:44: steps\.3\.command: "tell-desk" is no command of east; east lists none/);
    expect(err).toMatch(/ours\.yaml:1:7: kind: "failover"; it stands for evacuation/);
    expect(err).toMatch(/tandem\.yaml:\d+:\d+: customers\.contoso\.runbooks\.relocate: .*gone\.yaml does not exist/);
    expect(err).toMatch(/^Error: runbooks of .*: 5 faults\n/);
    await write();
    expect((await tandem('config', 'check')).out).toMatch(/its own runbook for failover: ours\.yaml/);
  });

  it('config check says when a shipped runbook cannot fit the RTO of a customer', async () => {
    await write((tree) =>
      Object.assign(tree['customers']?.['contoso'] ?? {}, { runbooks: {}, objectives: { rpo: '8h', rto: '40m' } }),
    );
    const { err } = await tandem('config', 'check');
    expect(err).toMatch(
      /failover\.yaml:\d+:\d+: steps\.19\.needs: up to here .* RTO is 40 min .*\(failover of contoso\)/,
    );
    await write();
  });

  it('runbook list, show and graph tell a customer’s own where he has them', async () => {
    const list = await tandem('runbook', 'list', '--customer', 'contoso');
    expect(list.out).toMatch(/failover +Ours +6 steps +.*ours\.yaml\n/);
    expect(list.out).toMatch(/relocate +.*shipped/);
    expect((await tandem('runbook', 'list')).out).not.toContain('Ours');
    expect((await tandem('runbook', 'show', '--customer', 'contoso')).out).toContain('warn-pbx');
    expect((await tandem('runbook', 'graph', 'failover', '--customer', 'contoso')).out).toContain('[warn]');
  });

  it('runbook lint tells unknown names when a configuration is given, and only then', async () => {
    await writeFile(join(folder, 'typo.yaml'), runbook.replace('warn-pbx', 'warn-pxb'));
    expect(await tandem('runbook', 'lint', 'typo.yaml')).toMatchObject({ code: 0 });
    for (const given of [['--customer', 'contoso'], []]) {
      const named = given.length > 0 ? [] : ['--config', config];
      const { out, code } = await tandem(...named, 'runbook', 'lint', 'typo.yaml', ...given);
      expect(code).toBe(1);
      expect(out).toMatch(
        /typo\.yaml:6:42: steps\.2\.request: "warn-pxb" is no request of east; did you mean warn-pbx\?/,
      );
    }
  });
});
