import { once } from 'node:events';
import type { Socket } from 'node:net';
import { createServer } from 'node:tls';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ProbeQuestion } from '../../activities/probes/services/port.ts';
import type { DnsSettings } from '../../activities/settings.ts';
import { srvData, types } from '../../activities/traffic/dns-message.ts';
import { replaced, update } from '../../activities/traffic/dns-server.ts';
import { dnsSwitch } from '../../activities/traffic/dns.ts';
import { stopProcess, type ProcessRecord } from '../../ops/embedded/processes.ts';
import { findBind, startBind } from '../../ops/reference-service/bind.ts';
import { findEjabberd } from '../../ops/reference-service/ejabberd/installed.ts';
import { blackHole, droppingPort } from '../rig/black-holes.ts';
import { newAuthority, newServer } from '../rig/certificates.ts';
import { freePort } from '../rig/ports.ts';
import { never, newKey, removeFolder, scratchFolder } from '../traffic/ends.ts';
import { DOMAIN, openService, type Running, type Service } from './world.ts';

/** Users who know the domain and nothing else are led by a real name server; what it says wrong, the probe sees. */

const CLIENTS = `_xmpp-client._tcp.${DOMAIN}`;
const DIRECT = `_xmpps-client._tcp.${DOMAIN}`;
const PORT = 17;
const ejabberd = findEjabberd();

// Both servers are not on every machine: root on Debian gets them by `npm test` itself, and CI is that.
describe.skipIf(ejabberd === null || findBind() === null)('users led by the DNS', () => {
  let folder: string;
  let service: Service;
  let east: Running;
  let named: ProcessRecord;
  let dns: DnsSettings;
  /** Makes records lead to hosts of the zone, at the port of the service or another. */
  const lead = (name: string, ...to: (readonly [host: string, port?: number])[]): Promise<boolean> => {
    const data = to.map(([host, port]) => srvData(10, 50, port ?? east.options.ports.clients, `${host}.${DOMAIN}`));
    return update(dns, { requires: [], changes: replaced(name, types.SRV, 30, data) }, { signal: never });
  };
  const because = async (change: Partial<ProbeQuestion> = {}, nameServer = dns.server): Promise<string> => {
    const target = { ...east.question('remote-access').target, resolver: nameServer };
    const result = await east.probe('remote-access', { target, limitMs: 6000, ...change });
    expect(result.ok).toBe(result.because === '');
    return result.because;
  };

  beforeAll(async () => {
    if (!ejabberd) return;
    [folder, service] = await Promise.all([scratchFolder(), openService(ejabberd)]);
    east = await service.start('east', '127.0.0.12');
    const [key, port] = [newKey('tandem-east'), await freePort()];
    const targets = { east: `im-east.${DOMAIN}`, west: `im-west.${DOMAIN}` };
    const records = ['im-east IN A 127.0.0.12', 'im-west IN A 127.0.0.13', 'local IN A 127.0.0.1'];
    const changes = [
      { name: '_epoch', types: ['TXT'] },
      { name: '_xmpp-client._tcp', types: ['SRV'] },
      { name: '_xmpps-client._tcp', types: ['SRV'] },
    ];
    const zones = [{ name: DOMAIN, records, keys: [key], changes }];
    named = await startBind(folder, { site: 'names', address: '127.0.0.1', port, zones });
    const common = { kind: 'service', name: CLIENTS, priority: 10, weight: 50 } as const;
    const record = { ...common, port: east.options.ports.clients, targets: new Map(Object.entries(targets)) };
    dns = {
      server: `127.0.0.1:${port}`,
      zone: DOMAIN,
      key,
      ttlSeconds: 30,
      sites: ['east', 'west'],
      records: [record],
    };
  }, 60_000);
  beforeEach(async () => {
    await lead(CLIENTS, ['im-east']);
    await lead(DIRECT);
  });
  afterAll(async () => {
    if (named) await stopProcess(folder, named, 'SIGTERM', 5000);
    await service?.stop();
    if (folder) await removeFolder(folder);
  });

  it('are led astray by the record of a lost site, until `shift-dns` has taken it away', async () => {
    await lead(CLIENTS, ['im-east'], ['im-west']);
    const [, port] = east.question('remote-access').target.clients.split(':');
    expect(await because()).toMatch(
      new RegExp(
        `^expected a greeting at im-west\\.${DOMAIN}:${port} \\(127\\.0\\.0\\.13\\), to which ${CLIENTS} leads; saw connect ECONNREFUSED 127\\.0\\.0\\.13:${port}, after`,
      ),
    );
    const epoch = { number: 2, site: 'east', move: 'm' };
    await dnsSwitch(dns).shift({ customer: 'acme', epoch, to: ['east'] }, never);
    expect(await because()).toBe('');
  });

  it('sign in where it leads them, not where the configuration does', async () => {
    const { target } = east.question('remote-access');
    const elsewhere = { ...target, resolver: dns.server, clients: '127.0.0.1:9' };
    expect(await because({ target: elsewhere })).toBe('');
    expect(await because({ target: { ...elsewhere, resolver: null } })).toMatch(/ECONNREFUSED 127\.0\.0\.1:9/);
  });

  it.each<[string, () => Promise<unknown>, RegExp]>([
    ['no record', () => lead(CLIENTS), new RegExp(`saw neither ${CLIENTS} nor _xmpps-client\\._tcp is there`)],
    [
      'a host without an address',
      () => lead(CLIENTS, ['im-north']),
      /leads to im-north\.acme\.example, which has no address/,
    ],
    ['a wrong port', () => lead(CLIENTS, ['im-east', PORT]), /at im-east\.acme\.example:17 .*saw connect ECONNREFUSED/],
    [
      'a port for TLS that has none',
      () => lead(DIRECT, ['im-east']),
      /to which _xmpps-client.* leads; saw .*(SSL|ssl|wrong version)/,
    ],
  ])('are seen to be lost with %s', async (_, change, told) => {
    await change();
    expect(await because()).toMatch(told);
  });

  it.each([
    ['that takes connections and says nothing', blackHole],
    ['that drops packets', droppingPort],
  ])('are seen to be lost, within the limit, with a host %s', async (_, open) => {
    const hole = await open();
    try {
      await lead(CLIENTS, ['im-east'], ['local', hole.port]);
      const began = performance.now();
      expect(await because({ limitMs: 4000 })).toMatch(/a greeting at local\.acme\.example:\d+ .*; saw /);
      expect(performance.now() - began).toBeLessThan(4700);
    } finally {
      await hole.close();
    }
  });

  it('are seen to be lost with a name server that does not answer', async () => {
    const port = await freePort();
    expect(await because({ limitMs: 9000 }, `127.0.0.1:${port}`)).toMatch(
      new RegExp(
        `^expected to be led to ${DOMAIN} by the name server 127\\.0\\.0\\.1:${port}; saw .*(ECONNREFUSED|ETIMEOUT)`,
      ),
    );
  });

  it('may be led to TLS from the first byte, by a certificate for the domain alone', async () => {
    const authority = newAuthority('a test');
    const { target } = east.question('remote-access');
    const ca = `${target.ca}${authority.certificate}`;
    for (const [name, told] of [
      [DOMAIN, /^$/],
      ['other.example', /_xmpps-client.* leads; saw .*altnames/],
    ] as const) {
      const server = createServer(newServer(authority, name), (socket) => {
        socket.on('error', () => undefined).end('<stream:stream>');
      });
      const open = new Set<Socket>();
      server.on('connection', (socket: Socket) => open.add(socket));
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as { port: number };
      await lead(DIRECT, ['local', port]);
      expect(await because({ target: { ...target, ca, resolver: dns.server } })).toMatch(told);
      for (const socket of open) socket.destroy();
      await new Promise((done) => server.close(done));
    }
  });
});
