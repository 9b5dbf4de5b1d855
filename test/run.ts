import { spawn } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** All that `npm test` checks, cheapest first. Arguments name test files or folders: then only those run. */
const root = fileURLToPath(new URL('..', import.meta.url));
const bin = (name: string): string => join(root, 'node_modules', '.bin', name);
const only = process.argv.slice(2);

const checks: { name: string; command: string; args: string[] }[] = [
  { name: 'format', command: bin('oxfmt'), args: ['--check', '.'] },
  { name: 'lint', command: bin('oxlint'), args: [] },
  { name: 'types', command: bin('tsc'), args: ['-p', '.'] },
  { name: 'dead code', command: bin('knip'), args: [] },
];

let passed = 0;
let failed = 0;

for (const { name, command, args } of only.length > 0 ? [] : checks) {
  process.stdout.write(`${name} …\n`);
  if ((await run(command, args)) === 0) passed += 1;
  else {
    failed += 1;
    process.stdout.write(`${name}: FAILED\n`);
  }
}
await tests();
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;

async function tests(): Promise<void> {
  const results = join(tmpdir(), `tandem-tests-${process.pid}.json`);
  const code = await run(bin('vitest'), [
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

function run(command: string, args: string[]): Promise<number> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, stdio: 'inherit' });
    child.once('error', () => resolve(1));
    child.once('close', (code) => resolve(code ?? 1));
  });
}
