// @ts-check
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { accessSync, constants, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * The servers of the embedded stack: found, or built once from a Go module with pinned versions. Plain JavaScript,
 * because it runs before anything is installed.
 *
 * @typedef {'temporal-server' | 'temporal-sql-tool' | 'temporal-ui-server' | 'versitygw'} ServerName
 * @typedef {Record<ServerName, string>} Servers
 */

const here = fileURLToPath(new URL('.', import.meta.url));

/** @type {Record<ServerName, { variable: string, package: string }>} */
const known = {
  'temporal-server': { variable: 'TANDEM_TEMPORAL_SERVER', package: 'go.temporal.io/server/cmd/server' },
  'temporal-sql-tool': { variable: 'TANDEM_TEMPORAL_SQL_TOOL', package: 'go.temporal.io/server/cmd/tools/sql' },
  'temporal-ui-server': { variable: 'TANDEM_TEMPORAL_UI', package: 'github.com/temporalio/ui-server/v2/cmd/server' },
  versitygw: { variable: 'TANDEM_VERSITYGW', package: 'github.com/versity/versitygw/cmd/versitygw' },
};
const names = /** @type {ServerName[]} */ (Object.keys(known));

/** An error for a person: what is wrong, then what to do. */
export class SetupFault extends Error {
  /** @param {string} message @param {string} tryText */
  constructor(message, tryText) {
    super(message);
    this.name = 'SetupFault';
    this.try = tryText;
  }
}

const variables = names.map((name) => known[name].variable).join(', ');
const withoutGo = `Install Go ${wantedGo()} or newer (Debian: \`apt-get install -t bookworm-backports golang-go\`, or https://go.dev/dl), or name existing binaries in ${variables}.`;

/** The Go version that go.mod asks for. */
function wantedGo() {
  return /^go (\S+)$/m.exec(readFileSync(join(here, 'go.mod'), 'utf8'))?.[1] ?? '';
}

/** @param {string} path */
function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** A binary that a variable names, or one on PATH. @param {ServerName} name */
function given(name) {
  const { variable } = known[name];
  const named = process.env[variable];
  if (named !== undefined && named !== '') {
    if (isExecutable(named)) return named;
    throw new SetupFault(`${variable}=${named}: no executable file`, `Correct or unset ${variable}.`);
  }
  const found = (process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, name));
  return found.find(isExecutable) ?? null;
}

/** The version of the machine's Go, or null when there is none. */
function goVersion() {
  try {
    const env = { ...process.env, GOTOOLCHAIN: 'local' };
    return execFileSync('go', ['env', 'GOVERSION'], { encoding: 'utf8', env, cwd: here }).trim().replace(/^go/, '');
  } catch {
    return null;
  }
}

/** Where built binaries are kept: outside the checkout, so that every clone of the same versions shares them. */
function cacheFolder() {
  const root =
    process.env['TANDEM_CACHE'] || join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'tandem');
  const hash = createHash('sha256');
  for (const file of ['go.mod', 'go.sum']) hash.update(readFileSync(join(here, file)));
  hash.update(`${goVersion() ?? 'no go'} ${process.platform} ${process.arch}`);
  return join(root, 'servers', hash.digest('hex').slice(0, 16));
}

/**
 * The servers, if all are there; a fault that says which is missing if not. Builds nothing.
 * @returns {Servers}
 */
export function findServers() {
  const folder = cacheFolder();
  const found = names.map((name) => /** @type {const} */ ([name, given(name) ?? join(folder, name)]));
  const missing = found.filter(([, path]) => !isExecutable(path)).map(([name]) => name);
  if (missing.length > 0) {
    throw new SetupFault(
      `servers: ${missing.join(', ')} not built yet`,
      `Start through npm, which builds them once: \`npm run tandem -- dev up\`. Or name binaries in ${variables}.`,
    );
  }
  return /** @type {Servers} */ (Object.fromEntries(found));
}

/**
 * Builds what is missing. Takes minutes the first time: `say` hears what and why.
 * @param {(line: string) => void} say
 */
export async function buildServers(say) {
  if (names.every((name) => given(name) !== null)) return;
  const version = goVersion();
  if (version === null)
    throw new SetupFault('Go: not found, and the servers of the embedded stack are built with it', withoutGo);
  if (older(version, wantedGo()))
    throw new SetupFault(`Go ${version}: go.mod asks for ${wantedGo()} or newer`, withoutGo);
  const folder = cacheFolder();
  const missing = names.filter((name) => given(name) === null && !isExecutable(join(folder, name)));
  if (missing.length === 0) return;
  say(
    `Building ${missing.join(', ')} from their pinned sources. This happens once and takes some minutes; later starts take seconds.`,
  );
  const draft = `${folder}.${process.pid}`;
  mkdirSync(draft, { recursive: true });
  try {
    for (const name of missing) await build(name, join(draft, name), say);
    mkdirSync(folder, { recursive: true });
    // Each is moved into place whole: two checkouts that build at once only do the work twice.
    for (const name of missing) renameSync(join(draft, name), join(folder, name));
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
  say(`Built. Kept in ${folder}.`);
}

/** @param {string} have @param {string} want */
function older(have, want) {
  const [a, b] = [have, want].map((v) => v.split(/[^0-9]+/).map(Number));
  for (let i = 0; i < 3; i += 1) {
    const difference = (a?.[i] ?? 0) - (b?.[i] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}

/** @param {ServerName} name @param {string} output @param {(line: string) => void} say */
async function build(name, output, say) {
  const started = Date.now();
  const seconds = () => `${Math.round((Date.now() - started) / 1000)} s`;
  say(`  ${name} …`);
  const env = {
    ...process.env,
    CGO_ENABLED: '0',
    GOTOOLCHAIN: 'local',
    GOFLAGS: `${process.env['GOFLAGS'] ?? ''} -mod=readonly`.trim(),
  };
  const args = ['build', '-trimpath', '-ldflags', '-s -w', '-o', output, known[name].package];
  const child = spawn('go', args, { cwd: here, env, stdio: ['ignore', 'ignore', 'pipe'] });
  let errors = '';
  child.stderr.on('data', (chunk) => (errors = `${errors}${chunk}`.slice(-4000)));
  const ticker = setInterval(() => say(`  ${name}: still compiling after ${seconds()}`), 15_000);
  /** @type {number | null} */
  const code = await new Promise((resolve) => {
    child.once('error', () => resolve(1));
    child.once('close', resolve);
  });
  clearInterval(ticker);
  if (code !== 0 || !existsSync(output)) {
    const full = /no space left/i.test(errors);
    throw new SetupFault(
      `${name}: its build failed\n${errors.trim()}`,
      full
        ? 'Make room on the disk (the build needs about 4 GB), then try again.'
        : 'Look at the lines above; Go reaches its modules through GOPROXY.',
    );
  }
  say(`  ${name}: built in ${seconds()}`);
}
