import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { inspectCertificates } from '../../activities/services/certificates.ts';
import { inspectService } from '../../activities/services/inspect.ts';
import { requireServed } from '../../activities/services/obeyed.ts';
import type { CustomerSettings, SiteSettings } from '../../activities/settings.ts';
import { findEjabberd } from '../../ops/reference-service/ejabberd/installed.ts';
import { newAuthority, newServer } from '../rig/certificates.ts';
import { DOMAIN, openService, type Running, type Service } from './world.ts';

/** A real ejabberd with a certificate that is not in its time: clients, the worker and `tandem doctor` say so, with the date. */

const ejabberd = findEjabberd();
const DAY = 24 * 3_600_000;
const authority = newAuthority('a test');
const onSecond = (at: number): number => Math.floor(at / 1000) * 1000;
const EXPIRED = onSecond(Date.now() - 3 * DAY);
const SOON = onSecond(Date.now() + 5 * DAY + 3_600_000);
const text = (at: number): string => new Date(at).toISOString();

// A real ejabberd is not on every machine: root on Debian gets it by `npm test` itself, and CI is that.
describe.skipIf(ejabberd === null)('a certificate of a site', () => {
  let service: Service;
  let east: Running;
  /** PEM, with the key. */
  const certificates = {} as Record<'expired' | 'soon' | 'fit', string>;

  beforeAll(async () => {
    if (!ejabberd) return;
    service = await openService(ejabberd);
    const trusted = join(service.folder, 'trusted.pem');
    await writeFile(trusted, `${await readFile(service.authority, 'utf8')}${authority.certificate}`);
    for (const [which, until] of [
      ['expired', EXPIRED],
      ['soon', SOON],
    ] as const) {
      const { cert, key } = newServer(authority, DOMAIN, until);
      certificates[which] = `${cert}${key}`;
    }
    east = await service.start('east', '127.0.0.14', { authority: trusted });
    certificates.fit = await readFile(east.options.certificate, 'utf8');
  }, 90_000);
  afterAll(() => service?.stop(), 30_000);

  /** What the worker of a site knows of it. */
  function settings(): { site: SiteSettings; customer: CustomerSettings } {
    const { ports, address } = east.options;
    const { target, accounts } = east.question('presence');
    const management = { url: `https://${address}:${ports.management}/api`, token: 'x', ca: authority.certificate };
    const services = new Map([['east', { clients: target.clients, api: null, outsideCheck: null, management }]]);
    const { domain, ...at } = target;
    const probes = { targets: new Map([['east', at]]), accounts: new Map([['east', accounts]]), partner: null };
    return {
      site: { site: 'east', services } as unknown as SiteSettings,
      customer: {
        id: 'acme',
        domain,
        options: [],
        probes: { ...probes, limitMs: 5000 },
      } as unknown as CustomerSettings,
    };
  }
  const because = async (which: keyof typeof certificates): Promise<string> => {
    await east.show(certificates[which]);
    const { target } = east.question('presence');
    const ca = `${target.ca}${authority.certificate}`;
    const result = await east.probe('remote-access', { target: { ...target, ca }, limitMs: 6000 });
    expect(result.ok).toBe(result.because === '');
    return result.because;
  };
  const found = async (which: keyof typeof certificates): Promise<string[]> => {
    await east.show(certificates[which]);
    const { site, customer } = settings();
    return (await inspectCertificates(site, customer)).map((f) => `${f.severity}: ${f.subject}: ${f.observed}`);
  };

  it('that has expired lets nobody in, and the probe says since when', async () => {
    expect(await because('expired')).toMatch(
      new RegExp(
        `^expected account 1 to sign in at 127\\.0\\.0\\.14:\\d+; saw a certificate that expired on ${text(EXPIRED)}, after`,
      ),
    );
    expect(await because('fit')).toBe('');
  });

  it('that has expired makes the API one that is not believed: `serve-users` and doctor say since when', async () => {
    await east.show(certificates.expired);
    const { site, customer } = settings();
    const told = `a certificate that expired on ${text(EXPIRED)}`;
    expect(await requireServed(site, customer, ['east'])).toBe(
      `its service was not seen to obey yet: tandem_look_again: ${told}`,
    );
    const management = site.services.get('east')?.management;
    if (!management) throw new Error('no API');
    expect(await inspectService(management, { site: 'east', domain: DOMAIN })).toMatchObject([
      { severity: 'error', observed: `its certificate is not in its time (tandem_look_again: ${told})` },
    ]);
  });

  it('is an error to doctor once it has expired, a warning in its last 14 days, and nothing before', async () => {
    const [client, api, web] = ['client port', 'API', 'web address'].map(
      (what) => new RegExp(`, ${what} \\(127\\.0\\.0\\.`),
    );
    const expired = await found('expired');
    const soon = await found('soon');
    for (const told of [expired, soon]) {
      expect(told).toHaveLength(3);
      [client, api, web].forEach((what, i) => expect(told[i]).toMatch(what ?? ''));
    }
    for (const line of expired)
      expect(line).toMatch(new RegExp(`^error: .*: it shows a certificate that expired on ${text(EXPIRED)}$`));
    for (const line of soon)
      expect(line).toMatch(new RegExp(`^warning: .*: it expires on ${text(SOON)}, in 5 days; 14 are the least$`));
    expect(await found('fit')).toEqual([]);
  });

  it('that is not shown is said, and why', async () => {
    const { site, customer } = settings();
    const services = new Map([['east', { clients: '127.0.0.14:9', api: null, outsideCheck: null }]]);
    const { probes: _, ...unprobed } = customer;
    const told = await inspectCertificates({ ...site, services }, unprobed);
    expect(told).toMatchObject([
      { severity: 'warning', observed: 'it was not seen: connect ECONNREFUSED 127.0.0.14:9' },
    ]);
  });
});
