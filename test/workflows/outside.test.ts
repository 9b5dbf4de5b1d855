import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makePlan } from '../../activities/services/plan.ts';
import { openSite } from '../../activities/services/site.ts';
import type { SiteSettings } from '../../activities/settings.ts';
import { failureKind, failureText } from '../../workflows/model/failures.ts';
import type { Plan } from '../../workflows/model/plan.ts';
import { approve, ask, cover, declaration, declare } from '../rig/failovers.ts';
import { CUSTOMER, openRegion, type Region } from '../rig/region.ts';
import { commandService, httpService, type CommandService, type HttpService } from '../services/outside.ts';

/** A move with a customer's own runbook, in which services that are not ours take part. */

const steps = (request: string): string => `kind: failover
name: Ours
steps:
  - { id: epoch, act: advance-epoch }
  - { id: fence, act: fence-site, needs: [epoch] }
  - { id: warn, act: call-http, request: ${request}, needs: [epoch] }
  - { id: tell, act: run-command, command: good, needs: [warn] }
  - { id: bought, act: run-command, command: nobody-has-this, when: public-im, needs: [epoch] }
  - { id: contacts, act: restore-contacts, needs: [epoch] }
  - { id: serve, act: serve-users, needs: [fence, contacts, tell] }
`;

let region: Region;
let folder: string;
let http: HttpService;
let command: CommandService;
beforeAll(async () => {
  [region, folder, http, command] = await Promise.all([
    openRegion({ users: 10 }),
    mkdtemp(join(tmpdir(), 'tandem-runbooks-')),
    httpService(),
    commandService(),
  ]);
  await cover(region);
  region.lose('east');
  region.settings.west = withRunbook();
  await writeRunbook(steps('good'));
});
afterAll(async () => {
  await region.close();
  await Promise.all([http.close(), command.close(), rm(folder, { recursive: true })]);
});

const writeRunbook = (text: string, name = 'ours.yaml'): Promise<void> => writeFile(join(folder, name), text);

function withRunbook(name = 'ours.yaml'): SiteSettings {
  const { west } = region.settings;
  const customer = west.customers.get(CUSTOMER);
  if (!customer) throw new Error('no customer');
  const own = { ...customer, runbooks: new Map([['failover' as const, join(folder, name)]]) };
  return { ...west, customers: new Map([[CUSTOMER, own]]), requests: http.requests, commands: command.commands };
}

async function plan(settings: SiteSettings = region.settings.west): Promise<Plan> {
  const site = openSite(settings);
  try {
    return await makePlan(site, { input: declaration(), declaredAt: new Date().toISOString() });
  } finally {
    await site.close();
  }
}

describe('a plan', () => {
  it('is made of the customer’s own runbook, as it lies there when the plan is made', async () => {
    const first = await plan();
    expect(first.decisions.runbook.name).toBe('Ours');
    await writeRunbook(steps('checked'));
    const second = await plan();
    expect(second.decisions.steps.find((s) => s.id === 'warn')?.request).toBe('checked');
    expect(second.decisions.runbook.digest).not.toBe(first.decisions.runbook.digest);
    expect(second.digest).not.toBe(first.digest);
    await writeRunbook(steps('good'));
  });

  it('cannot be signed with a name that the survivor does not list; a step for an option not bought is none of it', async () => {
    await writeRunbook(steps('goood'), 'typo.yaml');
    expect((await plan(withRunbook('typo.yaml'))).blockers).toEqual([
      {
        kind: 'not-configured',
        text: expect.stringMatching(/^step warn: "goood" is no request of west; did you mean good\?/) as string,
      },
    ]);
    expect((await plan({ ...region.settings.west, commands: new Map() })).blockers).toEqual([
      { kind: 'not-configured', text: 'step tell: "good" is no command of west; west lists none' },
    ]);
  });

  it('is not made of a runbook that is missing, broken, or for another kind of move', async () => {
    const told = async (name: string): Promise<string> => {
      const error: unknown = await plan(withRunbook(name)).catch((e: unknown) => e);
      return `${failureKind(error)} ${failureText(error)}`;
    };
    await writeRunbook(steps('good').replace('kind: failover', 'kind: evacuation'), 'other.yaml');
    await writeRunbook('kind: failover', 'broken.yaml');
    expect(await told('gone.yaml')).toBe(`runbook-invalid runbook ${folder}/gone.yaml: does not exist`);
    expect(await told('broken.yaml')).toMatch(/^runbook-invalid runbook: \d faults\n.*broken\.yaml:1:1: name: nothing/);
    expect(await told('other.yaml')).toMatch(/other\.yaml:1:7: kind: "evacuation"; it stands for failover/);
  });
});

describe('a failover', () => {
  it('asks services that are not ours, once, under its epoch, and goes by the plan that was signed', async () => {
    await region.work('west');
    const handle = await declare(region);
    await writeRunbook('changed after it was planned');
    for (const operator of region.operators.slice(0, 2)) await approve(handle, operator);
    const { report } = await handle.result();
    expect(report.outcome).toBe('closed');
    const key = (step: string): string => `${CUSTOMER}/${report.epoch}/${step}/0`;
    const told = { name: 'good', epoch: String(report.epoch), move: report.move };
    expect(await http.heard()).toEqual([{ ...told, key: key('warn') }]);
    expect(await command.heard()).toEqual([{ ...told, key: key('tell') }]);
    const lines = await ask<{ body: { result: { facts: unknown } } }>(
      region,
      'west',
      `select body::jsonb as body from tandem.journal where key in ('effect/${key('warn')}', 'effect/${key('tell')}') order by seq`,
    );
    expect(lines.map(({ body }) => body.result.facts)).toEqual([
      { status: 200, answerBytes: 9, answerDigest: expect.stringMatching(/^[0-9a-f]{16}$/) as string },
      { exitCode: 0, outputBytes: 0 },
    ]);
  });
});
