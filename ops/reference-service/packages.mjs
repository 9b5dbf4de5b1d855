// @ts-check
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';

/**
 * What the reference service is made of, from Debian. Installed only as root and where apt is; anything else is said in one
 * line, and the stack does without.
 */

const PACKAGES = [
  'bind9',
  'ejabberd',
  'erlang-p1-oauth2',
  'erlang-p1-pgsql',
  'haproxy',
  'lua-unbound',
  'openssl',
  'prosody',
  'slapd',
];
/** Debian starts a server when it is installed, unless this says no. Ours are started by the stack, and on loopback. */
const POLICY = '/usr/sbin/policy-rc.d';
const SERVICES = ['ejabberd', 'haproxy', 'named', 'prosody', 'slapd'];
const LIMIT_MS = 300_000;

/** @param {(line: string) => void} say */
export function installReferenceService(say) {
  const missing = PACKAGES.filter((name) => !isInstalled(name));
  if (missing.length === 0) return;
  const by = `apt-get install --no-install-recommends ${missing.join(' ')}`;
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) {
    say(`${leftOut(missing)} left out. On Debian 12, root gets it by: ${by}`);
    return;
  }
  say(`Installing ${missing.join(', ')} from Debian, for the reference service. This takes about half a minute.`);
  const quiet = !existsSync(POLICY);
  if (quiet) writeFileSync(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    const error = install(missing) && (apt(['update', '-q']) ?? install(missing));
    if (error) say(`${leftOut(missing)} left out: \`${by}\` failed: ${error}`);
    else for (const service of SERVICES) spawnSync('systemctl', ['disable', '--quiet', service], { stdio: 'ignore' });
  } finally {
    if (quiet) rmSync(POLICY, { force: true });
  }
}

/** Without ejabberd there is none of it; without another, the stack does without that one. @param {string[]} names */
const leftOut = (names) =>
  names.includes('ejabberd')
    ? 'The reference service (ejabberd) is'
    : `Of the reference service, ${names.join(', ')} is`;

/** @param {string[]} names */
const install = (names) => apt(['install', '-y', '-q', '--no-install-recommends', ...names]);

/** Null, or the last line of what went wrong. @param {string[]} args */
function apt(args) {
  const { status, stderr, error } = spawnSync('apt-get', ['-o', 'DPkg::Lock::Timeout=60', ...args], {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
    timeout: LIMIT_MS,
  });
  if (status === 0) return null;
  return stderr.trim().split('\n').at(-1) || String(error ?? `exit code ${status}`);
}

/** @param {string} name */
function isInstalled(name) {
  const { stdout } = spawnSync('dpkg-query', ['-W', '-f', '${db:Status-Status}', name], { encoding: 'utf8' });
  return stdout === 'installed';
}
