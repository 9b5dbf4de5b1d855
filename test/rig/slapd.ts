import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stopProcess } from '../../ops/embedded/processes.ts';
import { certificateFor, openAuthority } from '../../ops/reference-service/authority.ts';
import type { SlapdOptions } from '../../ops/reference-service/slapd-configuration.ts';
import { startSlapd, type Slapd } from '../../ops/reference-service/slapd.ts';
import type { LdapSettings } from '../../activities/settings.ts';
import { freePort } from './ports.ts';

/** A customer's directory on a real slapd of its own. */
export interface ScratchSlapd extends Slapd {
  /** As a site would ask it. */
  settings: LdapSettings;
  /** For StartTLS. */
  plainPort: number;
  folder: string;
  close: () => Promise<void>;
}

export async function scratchSlapd(change: Partial<SlapdOptions> & { days?: string } = {}): Promise<ScratchSlapd> {
  const folder = await mkdtemp(join(tmpdir(), 'tandem-slapd-'));
  await chmod(folder, 0o755);
  const authority = await openAuthority(join(folder, 'tls'));
  const certificate = await certificateFor(authority, join(folder, 'tls', 'directory.pem'), ['127.0.0.1']);
  const [port, plainPort] = [await freePort(), await freePort()];
  const slapd = await startSlapd(folder, {
    site: 'customer',
    address: '127.0.0.1',
    port,
    plainPort,
    certificate,
    authority: authority.certificate,
    suffix: 'dc=contoso,dc=example',
    ...change,
  });
  return {
    ...slapd,
    plainPort,
    folder,
    settings: ldapSettings(slapd, await readFile(authority.certificate, 'utf8')),
    async close() {
      process.kill(slapd.record.pid, 'SIGCONT');
      await stopProcess(folder, slapd.record, 'SIGTERM', 5000);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

const ldapSettings = ({ url, reader, base }: Slapd, ca: string): LdapSettings => ({
  url,
  tls: 'implicit',
  ca,
  bind: reader,
  base,
  filter: '(objectClass=person)',
  attributes: {
    username: 'uid',
    entitlement: { name: 'tandemEntitled', value: 'TRUE' },
    home: 'tandemHome',
    credentials: 'authPassword',
  },
});

export interface Wire {
  port: number;
  /** Connections that were opened to it. */
  opened: () => number;
  close: () => void;
}

/** A way to a server on loopback that breaks once so many bytes have come back, on every connection. */
export async function wireTo(port: number, breaksAfter: number): Promise<Wire> {
  const sockets = new Set<Socket>();
  let opened = 0;
  const server = createServer((near) => {
    opened += 1;
    let bytes = 0;
    const far = connect(port, '127.0.0.1');
    const cut = (): void => {
      near.destroy();
      far.destroy();
    };
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', cut).on('close', cut);
    }
    near.pipe(far);
    far.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > breaksAfter) cut();
      else near.write(chunk);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    opened: () => opened,
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
