import { spawn } from 'node:child_process';
import { glob, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * All that `npm test` checks. Arguments name test files or folders: then only those run. With `--long`, proofs that have a short form
 * (rig/form.ts) run whole, and nothing else does unless it is named.
 */
const root = fileURLToPath(new URL('..', import.meta.url));
const bin = (name: string): string => join(root, 'node_modules', '.bin', name);
const long = process.argv.includes('--long');
const named = process.argv.slice(2).filter((word) => word !== '--long');
const only = long && named.length === 0 ? await longProofs() : named;

const checks: { name: string; command: string; args: string[] }[] = [
  { name: 'format', command: bin('oxfmt'), args: ['--check', '.'] },
  { name: 'lint', command: bin('oxlint'), args: [] },
  { name: 'types', command: bin('tsc'), args: ['-p', '.'] },
  { name: 'dead code', command: bin('knip'), args: [] },
];

let passed = 0;
let failed = 0;

// In turn, while the servers of the tests start: what each says is told when it has ended.
const checked = only.length > 0 ? Promise.resolve() : check();
await tests();
await checked;
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;

async function longProofs(): Promise<string[]> {
  const found: string[] = [];
  for await (const file of glob('test/**/*.test.ts', { cwd: root }))
    if ((await readFile(join(root, file), 'utf8')).includes("/rig/form.ts'")) found.push(file);
  return found;
}

async function check(): Promise<void> {
  for (const { name, command, args } of checks) {
    const { code, said } = await run(command, args, 'pipe');
    if (code === 0) passed += 1;
    else failed += 1;
    process.stdout.write(code === 0 ? `${name}: good\n` : `${said}\n${name}: FAILED\n`);
  }
}

async function tests(): Promise<void> {
  const results = join(tmpdir(), `tandem-tests-${process.pid}.json`);
  const { code } = await run(bin('vitest'), [
    'run',
    '--config',
    'test/vitest.config.ts',
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${results}`,
    ...only,
  ]);
  try {
    const summary = JSON.parse(await readFile(results, 'utf8')) as { numPassedTests: number; numFailedTests: number };
    passed += summary.numPassedTests;
    failed += summary.numFailedTests;
    // A file that cannot be loaded, or a set-up that fails, fails no test of its own.
    if (code !== 0 && summary.numFailedTests === 0) failed += 1;
  } catch {
    process.stdout.write('The tests left no result.\n');
    failed += 1;
  } finally {
    await rm(results, { force: true });
  }
}

function run(
  command: string,
  args: string[],
  stdio: 'inherit' | 'pipe' = 'inherit',
): Promise<{ code: number; said: string }> {
  return new Promise((resolve) => {
    let said = '';
    const env = { ...process.env, ...(long && { TANDEM_TESTS: 'long' }) };
    const child = spawn(command, args, { cwd: root, env, stdio: ['inherit', stdio, stdio] });
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: Buffer) => (said += chunk.toString()));
    child.once('error', (error) => resolve({ code: 1, said: error.message }));
    child.once('close', (code) => resolve({ code: code ?? 1, said }));
  });
}
