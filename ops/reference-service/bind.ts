import { createHash } from 'node:crypto';
import { Resolver } from 'node:dns/promises';
import { existsSync } from 'node:fs';
import { lstat, mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { startProcess, type ProcessRecord } from '../embedded/processes.ts';
import { untilHealthy } from '../embedded/until-healthy.ts';
import { openToAll, UNPRIVILEGED, unprivileged } from '../embedded/unprivileged.ts';
import { Fault } from '../fault.ts';
import { hand } from './hand.ts';

/** The name server of the reference service: bind9, primary for zones of its own, and part of neither site. */

const NAMED = '/usr/sbin/named';
/** Of its own zones, s: so short that nobody is led astray for longer. */
const TTL = 5;

/** Null when it is not on this machine. */
export const findBind = (): string | null => (existsSync(NAMED) ? NAMED : null);

export interface BindKey {
  name: string;
  algorithm: 'hmac-sha256' | 'hmac-sha384' | 'hmac-sha512';
  secret: Buffer;
}

export interface BindZone {
  name: string;
  /** Lines of a zone file beside its SOA and NS: how it stands at the first start. */
  records: readonly string[];
  /** Keys that may change something in it; none: it never changes. */
  keys?: readonly BindKey[];
  /** What they may change, `name` absolute or relative to the zone, and nothing else. */
  changes?: readonly { name: string; types: readonly string[] }[];
}

export interface BindOptions {
  /** The name that its process, log and folder go by. */
  site: string;
  /** It listens only at addresses that an interface has: 127.0.0.1 is one, 127.0.0.53 it passes over in silence. */
  address: string;
  port: number;
  zones: readonly BindZone[];
}

/**
 * Starts it and waits until it answers for each zone. A zone that lies in its folder already is gone on with, changes and
 * all; keys and rights are those of this call.
 */
export async function startBind(folder: string, options: BindOptions): Promise<ProcessRecord> {
  const { site, address, port, zones } = options;
  const home = await homeOf(wantedHome(folder, site));
  const own = (name: string): string => join(home, name);
  await secretFile(
    own('keys.conf'),
    zones
      .flatMap((z) => z.keys ?? [])
      .map(keyText)
      .join(''),
  );
  await writeFile(own('named.conf'), configuration(home, options), { mode: 0o600 });
  for (const zone of zones)
    await writeFile(own(`${zone.name}.zone`), zoneText(zone, address), { flag: 'wx', mode: 0o600 }).catch(unlessThere);
  await hand([home, ...['keys.conf', 'named.conf', ...zones.map((z) => `${z.name}.zone`)].map(own)]);
  const record = await startProcess(folder, {
    site,
    name: 'bind',
    ...(await unprivileged(NAMED, ['-g', '-n', '1', '-c', own('named.conf')], home)),
    cwd: home,
  });
  const resolver = new Resolver({ timeout: 500, tries: 1 });
  resolver.setServers([`${address}:${port}`]);
  const answers = (): Promise<boolean> =>
    Promise.all(zones.map(({ name }) => resolver.resolveSoa(name))).then(
      () => true,
      () => false,
    );
  await untilHealthy(folder, site, 'bind', answers);
  return record;
}

/**
 * Its folder, closed to others. It gives up every right that would lead it below a closed folder of somebody else's: then its
 * folder lies in that of temporary files, where zones last until the machine starts again.
 */
async function homeOf(wanted: string): Promise<string> {
  await mkdir(dirname(wanted), { recursive: true });
  const open = process.getuid?.() !== 0 || (await openToAll(wanted));
  const home = open ? wanted : elsewhere(wanted);
  await mkdir(home, { recursive: true, mode: 0o700 });
  const { uid, mode } = await lstat(home);
  if ((mode & 0o077) === 0 && [process.getuid?.(), UNPRIVILEGED.uid].includes(uid)) return home;
  throw new Fault(`${home}: is somebody else’s, or open to others`, 'Remove it.');
}

const wantedHome = (folder: string, site: string): string => join(folder, 'data', site, 'bind');
const elsewhere = (wanted: string): string =>
  join(tmpdir(), `tandem-bind-${createHash('sha256').update(wanted).digest('hex').slice(0, 16)}`);

/** Deletes what it keeps outside of the stack's folder. It must not run. */
export const forgetBind = (folder: string, site: string): Promise<void> =>
  rm(elsewhere(wantedHome(folder, site)), { recursive: true, force: true });

/** A name once for each: a key that two zones know is one key. */
const keyText = ({ name, algorithm, secret }: BindKey, i: number, all: readonly BindKey[]): string =>
  all.findIndex((k) => k.name === name) === i
    ? `key "${name}" { algorithm ${algorithm}; secret "${secret.toString('base64')}"; };\n`
    : '';

function configuration(home: string, { address, port, zones }: BindOptions): string {
  const file = (name: string): string => JSON.stringify(join(home, name));
  return `options {
  directory ${JSON.stringify(home)};
  listen-on port ${port} { ${address}; };
  listen-on-v6 { none; };
  recursion no;
  allow-transfer { none; };
  notify no;
  dnssec-validation no;
  empty-zones-enable no;
  max-cache-size 2M;
  pid-file none;
  session-keyfile none;
  version none;
};
controls { };
include ${file('keys.conf')};
${zones.map((zone) => zoneConfiguration(zone, file(`${zone.name}.zone`))).join('\n')}
`;
}

function zoneConfiguration({ name, keys = [], changes = [] }: BindZone, file: string): string {
  const whole = (of: string): string => (of.endsWith('.') ? of : `${of}.${name}.`);
  const grants = keys.flatMap((key) =>
    changes.map((c) => `    grant "${key.name}" name ${whole(c.name)} ${c.types.join(' ')};`),
  );
  const policy = grants.length > 0 ? `\n  update-policy {\n${grants.join('\n')}\n  };` : '';
  return `zone "${name}" {\n  type primary;\n  file ${file};${policy}\n};`;
}

const zoneText = ({ name, records }: BindZone, address: string): string =>
  [
    `$ORIGIN ${name}.`,
    `$TTL ${TTL}`,
    `@ IN SOA ns hostmaster 1 60 60 600 ${TTL}`,
    '@ IN NS ns',
    `ns IN A ${address}`,
    ...records,
    '',
  ].join('\n');

async function secretFile(path: string, text: string): Promise<void> {
  await rm(path, { force: true });
  await writeFile(path, text, { mode: 0o600 });
}

function unlessThere(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST') throw error;
}
