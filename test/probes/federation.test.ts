import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ProbePartner, ProbeQuestion } from '../../activities/probes/services/port.ts';
import { stopProcess, type ProcessRecord } from '../../ops/embedded/processes.ts';
import { certificateFor, openAuthority } from '../../ops/reference-service/authority.ts';
import { findEjabberd } from '../../ops/reference-service/ejabberd/installed.ts';
import { hasProsody, startPartner, type PartnerOptions } from '../../ops/reference-service/prosody/partner.ts';
import { newAuthority, newServer } from '../rig/certificates.ts';
import { openDns } from '../rig/dns.ts';
import { freePort } from '../rig/ports.ts';
import { Session } from '../rig/xmpp.ts';
import { DOMAIN, openService, PASSWORD, type Running, type Service } from './world.ts';

/** A real Prosody is the trusted partner: another server, in another domain, of another authority's making or of ours. */

const PARTNER = 'partner.example';
const ejabberd = findEjabberd();

// Both servers are not on every machine: root on Debian gets them by `npm test` itself, and CI is that.
describe.skipIf(ejabberd === null || !hasProsody())('trusted federation', () => {
  let service: Service;
  let east: Running;
  let options: PartnerOptions;
  let partner: ProcessRecord;
  let account: ProbePartner;
  let dns: Awaited<ReturnType<typeof openDns>>;
  const because = async (change: Partial<ProbeQuestion> = {}): Promise<string> =>
    (await east.probe('trusted-federation', { partner: account, limitMs: 8000, ...change })).because;

  beforeAll(async () => {
    if (!ejabberd) return;
    service = await openService(ejabberd);
    east = await service.start('east', '127.0.0.10', {
      bought: { archiving: false, externalAv: false, partners: [PARTNER] },
    });
    const ports = { clients: await freePort(), servers: await freePort() };
    // ejabberd has the names of SRV records resolved by the machine, which knows none of ours.
    dns = await openDns({
      [`_xmpp-server._tcp.${DOMAIN}`]: { host: 'east.example', port: east.options.ports.servers ?? 0 },
      [`_xmpp-server._tcp.${PARTNER}`]: { host: '127.0.0.11', port: ports.servers },
      'east.example': '127.0.0.10',
    });
    await east.resolveBy(dns.port);
    const authority = await openAuthority(join(service.folder, 'tls'));
    options = {
      name: 'partner',
      domain: PARTNER,
      address: '127.0.0.11',
      ports,
      certificate: await certificateFor(authority, join(service.folder, 'tls', 'partner.pem'), [PARTNER]),
      authority: authority.certificate,
      resolver: { address: '127.0.0.1', port: dns.port },
      accounts: [{ user: 'probe', password: PASSWORD }],
    };
    partner = await startPartner(service.folder, options);
    account = { domain: PARTNER, clients: `127.0.0.11:${ports.clients}`, user: 'probe', password: PASSWORD };
  }, 60_000);
  afterAll(async () => {
    if (partner) await stopProcess(service.folder, partner, 'SIGTERM', 5000);
    await service?.stop();
    await dns?.close();
  });

  it('is green when messages go both ways, and is with partners alone', async () => {
    expect(await because()).toBe('');
    expect([await east.federatesWith(PARTNER), await east.federatesWith('other.example')]).toEqual([true, false]);
  });

  it('is red when the partner comes with a certificate that nobody here trusts', async () => {
    await stopProcess(service.folder, partner, 'SIGTERM', 5000);
    const stranger = await openAuthority(join(service.folder, 'stranger'));
    const certificate = await certificateFor(stranger, join(service.folder, 'stranger', 'partner.pem'), [PARTNER]);
    partner = await startPartner(service.folder, { ...options, certificate });
    // Clients of the probe trust both, so that it is the servers who do not trust each other.
    const target = east.question('trusted-federation').target;
    const ca = `${target.ca}${await readFile(stranger.certificate, 'utf8')}`;
    const told = await because({ target: { ...target, ca } });
    expect(told).toMatch(
      /^expected a message of account 1 to arrive at the partner; saw (nothing|it come back: remote-server-)/,
    );
  });

  describe('with a certificate of the partner that has expired', () => {
    const until = Math.floor(Date.now() / 1000) * 1000 - 3 * 24 * 3_600_000;
    const told = `a certificate that expired on ${new Date(until).toISOString()}`;
    const strangers = newAuthority('strangers');
    let fit: string;
    let expired: string;
    /** What all trust: the clients, and both servers. */
    let trusted: string;
    const target = (resolver: string | null): ProbeQuestion['target'] => ({
      ...east.question('trusted-federation').target,
      ca: trusted,
      resolver,
    });
    beforeAll(async () => {
      trusted = `${await readFile(service.authority, 'utf8')}${strangers.certificate}`;
      [fit, expired] = [join(service.folder, 'fit.pem'), join(service.folder, 'expired.pem')];
      for (const [path, end] of [
        [fit, undefined],
        [expired, until],
      ] as const) {
        const { cert, key } = newServer(strangers, PARTNER, end);
        await writeFile(path, `${cert}${key}`);
      }
      await east.trust(trusted);
    });
    const partnerShows = async (certificate: string, forServers: string): Promise<void> => {
      await stopProcess(service.folder, partner, 'SIGTERM', 5000);
      partner = await startPartner(service.folder, { ...options, certificate, forServers });
    };

    it('is red for its users, and says since when', async () => {
      await partnerShows(expired, expired);
      expect(await because({ target: target(null) })).toMatch(
        new RegExp(`^expected the account at the partner to sign in at .*; saw ${told}, after`),
      );
    });

    it('is red for its server, and says since when; no message goes either way, by no other proof', async () => {
      await partnerShows(fit, fit);
      // All but the date is as it will be. A domain that did not come through is tried again after some seconds.
      await expect
        .poll(() => because({ target: target(`127.0.0.1:${dns.port}`) }), { timeout: 20_000, interval: 1000 })
        .toBe('');
      await partnerShows(fit, expired);
      expect(await because({ target: target(`127.0.0.1:${dns.port}`) })).toMatch(
        new RegExp(`^expected certificates of the partner’s servers that are in their time; saw ${told}, after`),
      );
      const open = (at: string, domain: string, user: string): Promise<Session> =>
        Session.open({ at, domain, user, password: PASSWORD, authority: join(service.folder, 'all.pem') });
      await writeFile(join(service.folder, 'all.pem'), trusted);
      const sessions = [
        await open(target(null).clients, DOMAIN, 'probe-1'),
        await open(account.clients, PARTNER, 'probe'),
      ];
      const [ours, theirs] = sessions;
      ours?.say(`probe@${PARTNER}`, 'out');
      theirs?.say(`probe-1@${DOMAIN}`, 'in');
      await expect.poll(() => [ours?.heard, theirs?.heard], { timeout: 20_000 }).toEqual([['error: out'], ['error: ']]);
      for (const session of sessions) session.leave();
    }, 60_000);
  });

  it('is red when the partner does not answer', async () => {
    process.kill(partner.pid, 'SIGSTOP');
    try {
      expect(await because({ limitMs: 5000 })).toMatch(
        /^expected the account at the partner to sign in at .*; saw nothing more than/,
      );
    } finally {
      process.kill(partner.pid, 'SIGCONT');
    }
  });
});
