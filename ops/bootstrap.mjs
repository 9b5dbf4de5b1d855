// @ts-check
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildServers, SetupFault } from './embedded/servers.mjs';
import { installReferenceService } from './reference-service/packages.mjs';

/**
 * What every npm script of a checkout starts with. Needs nothing but the machine's Node 20 or newer: it installs the
 * packages when the lock file changed, gets and builds the servers when the command needs them, the service's from Debian, and then runs the command on the
 * Node version that the project pins. All it says goes to stderr: stdout is the command's.
 */

const root = fileURLToPath(new URL('..', import.meta.url));
const modules = join(root, 'node_modules');

/** @param {string} line */
const say = (line) => process.stderr.write(`${line}\n`);

function installPackages() {
  const wanted = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');
  const stamp = join(modules, '.tandem-installed');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  say('Installing packages: the lock file is new here. This takes about half a minute.');
  const { status, error } = spawnSync('npm', ['ci', '--loglevel=error'], { cwd: root, stdio: ['ignore', 2, 2] });
  if (error)
    throw new SetupFault(`npm: cannot be run (${error.message})`, 'Install Node.js with npm, version 20 or newer.');
  if (status !== 0)
    throw new SetupFault(
      'packages: `npm ci` failed',
      'Look at the lines above: most often the registry is out of reach, or the disk is full.',
    );
  writeFileSync(stamp, wanted);
}

/** Only what starts the embedded stack needs its servers. @param {string} verb @param {string[]} args */
function needsServers(verb, args) {
  if (['demo', 'bench', 'walk'].includes(verb)) return !args.includes('--help');
  return verb === 'test' || (args[0] === 'dev' && args[1] === 'up');
}

/** @param {string} verb @param {string[]} args */
function command(verb, args) {
  if (verb === 'test') return [join(root, 'test', 'run.ts'), ...args];
  if (verb === 'explore') return [join(root, 'test', 'model', 'main.ts'), ...args];
  if (verb === 'walk') return [join(root, 'test', 'walk', 'main.ts'), ...args];
  return [join(root, 'ops', 'cli', 'main.ts'), ...(verb === 'tandem' ? [] : [verb]), ...args];
}

/** @param {string[]} argv */
function run(argv) {
  // The project's own tools, Node included, come before the machine's.
  const PATH = `${join(modules, '.bin')}:${process.env['PATH'] ?? ''}`;
  const child = spawn(join(modules, '.bin', 'node'), ['--disable-warning=ExperimentalWarning', ...argv], {
    stdio: 'inherit',
    // Code that was read once is not compiled anew by every command, worker and data mover.
    env: { NODE_COMPILE_CACHE: join(modules, '.cache', 'compile'), ...process.env, PATH },
  });
  // Ctrl-C reaches the whole group; a signal to this process alone is passed on. Either way the command decides.
  process.on('SIGINT', () => undefined);
  for (const signal of /** @type {const} */ (['SIGTERM', 'SIGHUP'])) process.on(signal, () => child.kill(signal));
  child.once('error', (error) => fail(new SetupFault(`Node: ${error.message}`, 'Delete node_modules and try again.')));
  child.once('exit', (code, signal) => {
    process.exitCode = code ?? 128 + (signal ? constants.signals[signal] : 0);
  });
}

/** @param {unknown} error */
function fail(error) {
  const text = error instanceof Error ? error.message : String(error);
  say(`Error: ${text}`);
  if (error instanceof SetupFault) say(`Try: ${error.try}`);
  process.exitCode = 1;
}

const [verb = 'tandem', ...args] = process.argv.slice(2);
try {
  if (Number(process.versions.node.split('.')[0]) < 20) {
    throw new SetupFault(`Node ${process.versions.node}: 20 or newer is needed`, 'Install Node.js 20 or newer.');
  }
  installPackages();
  if (needsServers(verb, args)) {
    installReferenceService(say);
    await buildServers(say);
  }
  run(command(verb, args));
} catch (error) {
  fail(error);
}
