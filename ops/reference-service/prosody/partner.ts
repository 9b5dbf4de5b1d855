import { copyFile, mkdir, rm, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { greetsClients } from '../../../activities/probes/service.ts';
import { startProcess, type ProcessRecord } from '../../embedded/processes.ts';
import { untilHealthy } from '../../embedded/until-healthy.ts';
import { unprivileged } from '../../embedded/unprivileged.ts';
import { hand } from '../hand.ts';

/** A server of somebody else, with whom the customer's users talk: Debian's Prosody, as the provider's own organisation has it. */

const PROGRAM = '/usr/bin/prosody';
/** Without it Prosody asks nobody but the machine's own resolver. */
const RESOLVER = '/usr/share/lua/5.4/lunbound.lua';
const LIBRARIES = ['x86_64-linux-gnu', 'aarch64-linux-gnu'].map((machine) => `/usr/lib/${machine}/lua/5.4/lunbound.so`);

export interface PartnerOptions {
  /** Under which it stands among the processes of the stack. */
  name: string;
  domain: string;
  address: string;
  ports: { clients: number; servers: number };
  /** PEM: its certificate with its key, and the authority by which it believes other servers. */
  certificate: string;
  /** Another one, which it shows to other servers. */
  forServers?: string;
  authority: string;
  /** How it finds others: by a DNS, by what is written here of one domain and nothing else, or (null) as the machine does. */
  resolver: { address: string; port: number } | Route | null;
  accounts: readonly { user: string; password: string }[];
}

/** One address of one domain, in the configuration of somebody else. */
export interface Route {
  domain: string;
  address: string;
  port: number;
}

/** Whether it is on this machine, with the resolver it needs. */
export const hasProsody = (): boolean =>
  existsSync(PROGRAM) && [RESOLVER, ...LIBRARIES].some((path) => existsSync(path));

/** Starts it and waits until it greets clients. All that it keeps lies in its folder of the stack. */
export async function startPartner(folder: string, options: PartnerOptions): Promise<ProcessRecord> {
  const { name, domain, address, ports, accounts } = options;
  const home = join(folder, 'data', name, 'prosody');
  const own = (file: string): string => join(home, file);
  await mkdir(dirname(home), { recursive: true });
  const users = own(`data/${encoded(domain)}/accounts`);
  const folders = [home, own('data'), dirname(users), users];
  for (const each of folders) await mkdir(each, { recursive: true, mode: 0o700 });
  await copyFile(options.certificate, own('site.pem'));
  await copyFile(options.authority, own('ca.pem'));
  await copyFile(options.forServers ?? options.certificate, own('servers.pem'));
  const files = [own('site.pem'), own('servers.pem'), own('ca.pem')];
  const secret = async (path: string, text: string): Promise<void> => {
    await rm(path, { force: true });
    await writeFile(path, text, { mode: 0o600 });
    files.push(path);
  };
  await secret(own('prosody.cfg.lua'), partnerConfiguration({ ...options, home }));
  for (const { user, password } of accounts)
    await secret(join(users, `${encoded(user)}.dat`), `return { ["password"] = ${lua(password)}; };\n`);
  await hand([...folders, ...files]);
  const record = await startProcess(folder, {
    site: name,
    name: 'prosody',
    ...(await unprivileged(PROGRAM, ['--config', own('prosody.cfg.lua'), '-F'], home)),
    cwd: home,
    env: { HOME: home },
  });
  await untilHealthy(folder, name, 'prosody', () =>
    greetsClients(`${address}:${ports.clients}`, domain, AbortSignal.timeout(1000)).then(
      () => true,
      () => false,
    ),
  );
  return record;
}

/** Servers come with a certificate of the authority, or not at all: there is no dialback. */
function partnerConfiguration({ domain, address, ports, resolver, home }: PartnerOptions & { home: string }): string {
  const at = (name: string): string => lua(join(home, name));
  const lines = [
    `pidfile = ${at('prosody.pid')}`,
    `data_path = ${at('data')}`,
    `interfaces = { ${lua(address)} }`,
    `local_interfaces = { ${lua(address)} }`,
    `c2s_ports = { ${ports.clients} }`,
    `s2s_ports = { ${ports.servers} }`,
    'c2s_direct_tls_ports = {}',
    's2s_direct_tls_ports = {}',
    'http_ports = {}',
    'https_ports = {}',
    'modules_enabled = { "roster", "saslauth", "tls", "disco", "ping" }',
    'authentication = "internal_plain"',
    'storage = "internal"',
    'log = { info = "*console" }',
    'c2s_require_encryption = true',
    's2s_require_encryption = true',
    's2s_secure_auth = true',
    `ssl = { certificate = ${at('site.pem')}; key = ${at('site.pem')}; cafile = ${at('ca.pem')} }`,
    `s2s_ssl = { certificate = ${at('servers.pem')}; key = ${at('servers.pem')}; cafile = ${at('ca.pem')} }`,
    ...(resolver ? [`unbound = ${unbound(resolver)}`] : []),
    `VirtualHost ${lua(domain)}`,
  ];
  return `${lines.join('\n')}\n`;
}

function unbound(resolver: NonNullable<PartnerOptions['resolver']>): string {
  const { address, port } = resolver;
  const asked = `forward = { "${address}@${port}" }; options = { ["do-not-query-localhost:"] = "no" }`;
  return `{ resolvconf = false; hoststxt = false; ${'domain' in resolver ? known(resolver) : asked} }`;
}

/** All that it will ever know of the domain, whatever the DNS says. */
function known({ domain, address, port }: Route): string {
  const service = `_xmpp-server._tcp.${domain}. 60 IN SRV 0 0 ${port} ${address}.`;
  return `options = { ["local-zone:"] = ${lua(`${domain}. static`)}; ["local-data:"] = ${lua(service)} }`;
}

/** As Prosody names its files. */
const encoded = (name: string): string =>
  name.replaceAll(/[^A-Za-z0-9]/g, (c) => `%${c.charCodeAt(0).toString(16).padStart(2, '0')}`);

/** A text as Lua reads it. */
const lua = (text: string): string =>
  `"${text.replaceAll(/["\\\n\r\0]/g, (c) => `\\${String(c.charCodeAt(0)).padStart(3, '0')}`)}"`;
