import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { Attribute, Change, Client } from 'ldapts';
import { startProcess, type ProcessRecord } from '../embedded/processes.ts';
import { untilHealthy } from '../embedded/until-healthy.ts';
import { secret } from '../embedded/secrets.ts';
import { unprivileged } from '../embedded/unprivileged.ts';
import { Fault } from '../fault.ts';
import { hand } from './hand.ts';
import { roots, SCHEMAS, slapdConfiguration, type SlapdAccess, type SlapdOptions } from './slapd-configuration.ts';

/** The customer's directory of the reference service: an OpenLDAP server with people, and an account that may read them. */

const SLAPD = '/usr/sbin/slapd';
const SLAPADD = '/usr/sbin/slapadd';
const LIMIT_MS = 120_000;
/** Entries that are under way at once when people are loaded. */
const AT_ONCE = 8;
/** What LDAP answers for an entry that is there already (RFC 4511). */
const IS_THERE = 68;

/** Somebody in the directory. */
export interface Person {
  username: string;
  entitled: boolean;
  /** As RFC 5803 writes SCRAM keys. */
  credentials?: string;
  home?: string;
}

export interface Slapd extends SlapdAccess {
  record: ProcessRecord;
}

export const hasSlapd = (): boolean => existsSync(SLAPD) && existsSync(join(SCHEMAS, 'core.ldif'));

/** The secret of `folder` by which its reader is let in. */
export const readerSecret = (site: string): string => `${site}-slapd-reader`;

/** How its accounts reach it, whether it runs or not. */
export async function slapdAccess(
  folder: string,
  { site, address, port, suffix, authority }: Pick<SlapdOptions, 'site' | 'address' | 'port' | 'suffix' | 'authority'>,
): Promise<SlapdAccess> {
  return {
    url: `ldaps://${address}:${port}`,
    base: `ou=people,${suffix}`,
    reader: { dn: `cn=tandem,${suffix}`, password: await secret(folder, readerSecret(site)) },
    administrator: { dn: `cn=admin,${suffix}`, password: await secret(folder, `${site}-slapd-admin`) },
    authority,
  };
}

/** Starts it, with an empty directory or with what it held, and waits until it lets its reader in. */
export async function startSlapd(folder: string, options: SlapdOptions): Promise<Slapd> {
  const { site, address } = options;
  const home = join(folder, 'data', site, 'slapd');
  const slapd = await slapdAccess(folder, options);
  await prepare(home, options, slapd);
  const plain = options.plainPort === undefined ? '' : ` ldap://${address}:${options.plainPort}/`;
  const args = ['-h', `${slapd.url}/${plain}`, '-F', join(home, 'config'), '-d', 'none'];
  const record = await startProcess(folder, {
    site,
    name: 'slapd',
    // -d, whatever it says, keeps it in the foreground.
    ...(await unprivileged(SLAPD, args, home)),
    cwd: home,
  });
  await untilHealthy(folder, site, 'slapd', () =>
    bound(slapd, 'reader', async () => undefined).then(
      () => true,
      () => false,
    ),
  );
  return { ...slapd, record };
}

/** Its configuration is written anew at each start; its data stays. */
async function prepare(home: string, options: SlapdOptions, slapd: SlapdAccess): Promise<void> {
  const own = (name: string): string => join(home, name);
  const fresh = !existsSync(own('data/data.mdb'));
  await mkdir(dirname(home), { recursive: true });
  await rm(own('config'), { recursive: true, force: true });
  for (const folder of [home, own('config'), own('data')]) await mkdir(folder, { recursive: true, mode: 0o700 });
  await copyFile(options.certificate, own('server.pem'));
  await chmod(own('server.pem'), 0o600);
  await copyFile(options.authority, own('ca.pem'));
  await writeFile(own('config.ldif'), slapdConfiguration(home, options, slapd), { mode: 0o600 });
  await writeFile(own('people.ldif'), roots(options, slapd), { mode: 0o600 });
  await hand(['', 'config', 'data', 'server.pem', 'ca.pem', 'config.ldif', 'people.ldif'].map(own));
  await add(home, ['-n', '0', '-l', own('config.ldif')]);
  if (fresh) await add(home, ['-n', '1', '-l', own('people.ldif')]);
  await rm(own('config.ldif'));
  await rm(own('people.ldif'));
}

async function add(home: string, args: string[]): Promise<void> {
  const { command, args: all } = await unprivileged(SLAPADD, ['-F', join(home, 'config'), ...args], home);
  try {
    await promisify(execFile)(command, all, { cwd: home, timeout: LIMIT_MS });
  } catch (error) {
    throw new Fault(
      `slapd: its configuration was refused: ${String((error as { stderr?: string }).stderr ?? error)
        .trim()
        .slice(-500)}`,
      'It is written for OpenLDAP 2.5 of Debian 12: `apt-get install slapd`.',
    );
  }
}

/** Adds people, or makes those who are there what is said of them. */
export async function loadPeople(slapd: SlapdAccess, people: readonly Person[]): Promise<void> {
  await bound(slapd, 'administrator', async (client) => {
    const rest = people.values();
    const load = async (): Promise<void> => {
      for (const person of rest) await put(client, slapd.base, person);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, load));
  });
}

/** Takes the attribute from somebody, and leaves him all else. */
export async function clearEntitlement(slapd: SlapdAccess, username: string): Promise<void> {
  await bound(slapd, 'administrator', (client) =>
    client.modify(
      dnOf(slapd.base, username),
      new Change({ operation: 'replace', modification: new Attribute({ type: 'tandemEntitled', values: [] }) }),
    ),
  );
}

const dnOf = (base: string, username: string): string =>
  `uid=${username.replaceAll(/[,+"\\<>;=#]/g, (char) => `\\${char}`)},${base}`;

async function put(client: Client, base: string, person: Person): Promise<void> {
  const { username, entitled, credentials, home } = person;
  const dn = dnOf(base, username);
  const own: Record<string, string[]> = {
    tandemEntitled: entitled ? ['TRUE'] : [],
    authPassword: credentials === undefined ? [] : [credentials],
    tandemHome: home === undefined ? [] : [home],
  };
  const said = Object.fromEntries(Object.entries(own).filter(([, values]) => values.length > 0));
  const entry = { objectClass: ['inetOrgPerson', 'tandemUser'], uid: username, cn: username, sn: username, ...said };
  await client.add(dn, entry).catch(async (error: { code?: number }) => {
    if (error.code !== IS_THERE) throw error;
    // Changed in one piece: whoever asks meanwhile never finds him gone.
    const changes = Object.entries(own).map(
      ([type, values]) => new Change({ operation: 'replace', modification: new Attribute({ type, values }) }),
    );
    await client.modify(dn, changes);
  });
}

/** Work over a connection of one of its accounts. */
async function bound(
  slapd: SlapdAccess,
  as: 'reader' | 'administrator',
  work: (client: Client) => Promise<void>,
): Promise<void> {
  const host = new URL(slapd.url).hostname;
  const client = new Client({
    url: slapd.url,
    timeout: 10_000,
    connectTimeout: 2000,
    tlsOptions: { ca: await readFile(slapd.authority, 'utf8'), host },
  });
  try {
    await client.bind(slapd[as].dn, slapd[as].password);
    await work(client);
  } finally {
    await client.unbind().catch(() => undefined);
  }
}
