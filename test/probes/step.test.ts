import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { probe } from '../../activities/probes/act.ts';
import type { ProbeSettings } from '../../activities/probes/services/settings.ts';
import { probeServices } from '../../activities/probes/services/continuous.ts';
import { provisionerOf } from '../../activities/probes/services/provisioner.ts';
import { unprobed } from '../../activities/probes/services/step.ts';
import { partsOf } from '../../activities/services/configured.ts';
import { readEffect } from '../../activities/services/effects.ts';
import type { PlannedStep } from '../../activities/services/planned.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import { findEjabberd } from '../../ops/reference-service/ejabberd/installed.ts';
import { admitToManagement } from '../../ops/reference-service/ejabberd/tokens.ts';
import type { Service as Promised } from '../../workflows/model/acts.ts';
import { failureKind } from '../../workflows/model/failures.ts';
import type { Step } from '../../workflows/model/plan.ts';
import { makeWorld, startMove, step, type World } from '../failover-acts/world.ts';
import { sql } from '../rig/sql.ts';
import { DOMAIN, openService, type Running, type Service } from './world.ts';

/** The act `probe`: east is lost, and west is looked at by the accounts of east's half. */

const ejabberd = findEjabberd();
const rows = { summary: 'rows are as they were', facts: { compared: 3 } };
const means = { rows: () => Promise.resolve(rows), signal: new AbortController().signal };

const stepOf = (service: Promised, change: Partial<Step> = {}): Step => ({
  id: 'look',
  act: 'probe',
  service,
  needs: [],
  timeoutMs: 30_000,
  attempts: 1,
  onFailure: 'hold',
  ...change,
});

function planned(move: string, one: Step, round = 0): PlannedStep {
  const { key, act, plan } = step('probe', move, 2, undefined, round);
  return { key: { ...key, step: one.id }, act, plan: { ...plan, decisions: { ...plan.decisions, steps: [one] } } };
}

describe('a plan', () => {
  const account = { user: 'a', password: 'x' };
  const probes: ProbeSettings = {
    targets: new Map([['west', { clients: 'west:5222', web: null, address: null, resolver: null, ca: null }]]),
    accounts: new Map([['east', { first: account, second: account, third: account }]]),
    partner: null,
    limitMs: 5000,
  };
  const told = (customer: object, ...named: Promised[]): string[] =>
    unprobed(
      { id: 'contoso', domain: DOMAIN, options: [], ...customer } as never,
      { site: 'west', half: 'east', provisions: false },
      named.map((service) => stepOf(service)),
    ).map(({ text }) => text);

  it('leaves out the steps that are only for customers whose services are probed, unless they are', () => {
    const service = { clients: 'west:5222', api: null, outsideCheck: null };
    const management = { url: 'https://west/api', token: 'x', ca: null };
    const west = { site: 'west', services: new Map([['west', service]]) };
    expect(partsOf(west, { probes })).toEqual(['service-probes']);
    expect(partsOf(west, {})).toEqual([]);
    const [at] = [...probes.targets.values()];
    const all: ProbeSettings = {
      ...probes,
      targets: new Map(at ? [['west', { ...at, web: 'https://west' }]] : []),
      partner: { domain: 'partner.example', clients: 'partner:5222', ...account },
    };
    expect(partsOf({ ...west, services: new Map([['west', { ...service, management }]]) }, { probes: all })).toEqual([
      'service-probes',
      'web-probes',
      'federation-probes',
      'provisioning-probes',
    ]);
  });

  it('cannot be approved with a step that looks at what nobody can look at', () => {
    expect(told({}, 'presence', 'contacts')).toEqual(['step look: contoso has no probes configured']);
    expect(told({ probes }, 'presence', 'audio-video', 'remote-access', 'mobile')).toEqual([]);
    expect(told({ probes }, 'web-access', 'trusted-federation', 'archiving', 'provisioning', 'public-im')).toEqual([
      "step look: no web address of west is configured for contoso's probes",
      'step look: contoso has no account at a partner configured',
      'step look: contoso has not bought content-archiving; write `when: content-archiving`',
      'step look: accounts cannot be made at west: its API is not configured',
      'step look: public-im is followed as an external update, and not probed',
    ]);
    expect(told({ probes, options: ['content-archiving'] }, 'archiving')).toEqual([]);
    expect(told({ probes: { ...probes, accounts: new Map() } }, 'mobile')).toEqual([
      'step look: contoso has no probe accounts configured that are users of east',
    ]);
  });
});

// A real ejabberd is not on every machine: root on Debian gets it by `npm test` itself, and CI is that.
describe.skipIf(ejabberd === null)('a step that looks at a service', () => {
  let service: Service;
  let east: Running;
  let world: World;
  let site: OwnSite;
  let move: string;
  const withProbes = (
    change: Partial<ProbeSettings['targets'] extends ReadonlyMap<string, infer T> ? T : never>,
  ): OwnSite => {
    const { target, accounts } = east.question('presence');
    const { domain: _, ...at } = target;
    const probes = {
      targets: new Map([['west', { ...at, ...change }]]),
      accounts: new Map([['east', accounts]]),
      partner: null,
      limitMs: 6000,
    };
    return world.westWith({ customer: { domain: DOMAIN, probes } });
  };
  beforeAll(async () => {
    if (!ejabberd) return;
    [service, world] = await Promise.all([openService(ejabberd), makeWorld()]);
    east = await service.start('east', '127.0.0.7');
    move = await startMove(world);
    site = withProbes({});
  }, 60_000);
  afterAll(async () => {
    await service?.stop();
    await world?.close();
  });

  it('is held while the service does not do what it promises, and says what was expected and what was seen', async () => {
    const nobody = withProbes({ clients: '127.0.0.7:9' });
    const failed = await probe(nobody, planned(move, stepOf('instant-messaging')), means).catch(
      (error: unknown) => error,
    );
    expect(failureKind(failed)).toBe('verification-failed');
    expect(failed).toMatchObject({
      nonRetryable: false,
      message: expect.stringMatching(
        /^contoso: instant-messaging at west: expected account \d to sign in at 127\.0\.0\.7:9; saw connect ECONNREFUSED/,
      ) as string,
      details: [expect.objectContaining({ service: 'instant-messaging', ms: expect.any(Number) as number })],
    });
    const { key } = planned(move, stepOf('instant-messaging'));
    expect(await world.westDb.connection((client) => readEffect(client, key))).toBeNull();
  });

  it('notes what it saw, and when it was done answers that', async () => {
    const input = planned(move, stepOf('instant-messaging'));
    const done = await probe(site, input, means);
    expect(done.summary).toMatch(/^instant-messaging works at west for users of east: seen in \d+ ms$/);
    expect(done.facts).toMatchObject({ service: 'instant-messaging', ms: expect.any(Number) as number });
    expect(await world.westDb.connection((client) => readEffect(client, input.key))).toEqual(done);
    expect(await probe(withProbes({ clients: '127.0.0.7:9' }), input, means)).toEqual(done);
  });

  it('of contacts is not passed by rows alone: whom a user has blocked must not reach him', async () => {
    const input = planned(move, stepOf('contacts', { id: 'verify' }));
    const kept = await sql(service.database.url, 'select value from privacy_list_data');
    const passed = await probe(site, input, means);
    expect(passed.facts).toEqual({ compared: 3, blockSeenMs: expect.any(Number) as number });
    await sql(service.database.url, `update privacy_list_data set value = 'nobody@${DOMAIN}'`);
    const failed = await probe(site, input, means).catch((error: unknown) => error);
    expect(failureKind(failed)).toBe('verification-failed');
    expect(String(failed)).toContain('saw it arrive: nobody is blocked');
    expect(kept).toHaveLength(1);
    // Where no accounts are configured there is nobody to ask.
    expect(await probe(world.west, input, means)).toEqual(rows);
  });

  it('makes an account by the API of the service, with a home, and takes both away again', async () => {
    const tokens = { own: 'a token of the site', peer: 'a token of the peer' };
    await admitToManagement(service.database.url, DOMAIN, tokens);
    const { address, ports } = east.options;
    const by = async (token: string): Promise<string> => {
      const ca = east.question('provisioning').target.ca;
      const management = { url: `https://${address}:${ports.management}/api`, token, ca };
      const clients = `${address}:${ports.clients}`;
      const services = new Map([['west', { clients, api: null, outsideCheck: null, management }]]);
      const customer = { domain: DOMAIN, databaseUrl: service.database.url };
      const there = world.westWith({ customer, site: { services } });
      const provisioner = provisionerOf(there, there.customer('contoso'), 'east');
      return (await east.probe('provisioning', { provisioner })).because;
    };
    expect(await by(tokens.own)).toBe('');
    expect(await by(tokens.peer)).toMatch(/^expected an account to be made; saw register: answered with 40\d/);
    const left = `select username from users where username like 'tandem-%' union select username from tandem.home where username like 'tandem-%'`;
    expect(await sql(service.database.url, left)).toEqual([]);
  });

  it('all the time: every service that was bought and configured is looked at, while the site serves anybody', async () => {
    const look = async (): Promise<[boolean, Record<string, boolean>]> => {
      const heard: Record<string, boolean> = {};
      const { signal } = new AbortController();
      const serves = await probeServices(site, site.customer('contoso'), signal, (of, { ok }) => (heard[of] = ok));
      return [serves, heard];
    };
    await world.westDb.query('delete from tandem.serving');
    expect(await look()).toEqual([false, {}]);
    await world.westDb.query(
      `insert into tandem.serving (customer, half, site, epoch) select customer, 'east', 'west', number from tandem.epoch`,
    );
    await sql(service.database.url, `update privacy_list_data set value = 'nobody@${DOMAIN}'`);
    expect(await look()).toEqual([
      true,
      {
        contacts: false, // Nobody is blocked.
        'instant-messaging': true,
        presence: true,
        'remote-access': true,
        'audio-video': true,
        'file-transfer': true,
        mobile: true,
        'web-access': true,
      },
    ]);
  }, 60_000);

  it('finds nothing that was not bought: no archive, no relay for calls; calls go on without', async () => {
    expect((await east.probe('archiving')).because).toMatch(
      /the archive of account 1 to have it; saw service-unavailable/,
    );
    expect((await east.probe('audio-video', { relay: true })).because).toMatch(
      /^expected a relay with credentials for both users; saw none among \d+ services/,
    );
    const call = await east.probe('audio-video', { relay: false });
    expect(call).toMatchObject({ because: '', facts: { relayed: false } });
    expect(call.facts['stunMs']).toBeGreaterThan(0);
  });
});
