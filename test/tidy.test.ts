import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join, matchesGlob, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { apart, first } from './rig/order.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const git = (...args: string[]): string[] =>
  execFileSync('git', args, { cwd: root, encoding: 'utf8' }).split('\n').filter(Boolean);
const files = git('ls-files', '--cached', '--others', '--exclude-standard');
const code = files.filter((f) => /\.(ts|mts|mjs)$/.test(f));
const read = (file: string): string => readFileSync(join(root, file), 'utf8');

interface Import {
  file: string;
  target: string;
  typeOnly: boolean;
}

/** Static imports and re-exports, and dynamic imports of literal paths. */
function importsOf(file: string): Import[] {
  const text = read(file);
  const found: Import[] = [];
  const statics =
    /^\s*(?:import|export)\s+(type\s)?[^;'"]*?\sfrom\s+['"]([^'"]+)['"]|^\s*import\s+()['"]([^'"]+)['"]/gm;
  for (const m of text.matchAll(statics))
    found.push({ file, target: m[2] ?? m[4] ?? '', typeOnly: m[1] !== undefined });
  for (const m of text.matchAll(/\bimport\(\s*['"]([^'"]+)['"]/g))
    found.push({ file, target: m[1] ?? '', typeOnly: false });
  return found.map((i) =>
    i.target.startsWith('.') ? { ...i, target: relative(root, resolve(root, dirname(file), i.target)) } : i,
  );
}

const imports = code.flatMap(importsOf);
const room = (path: string): string => path.split('/')[0] ?? '';

describe('the tree is the architecture', () => {
  it('has exactly the rooms of the design at the top', () => {
    const top = new Set(files.map(room).filter((name) => !name.startsWith('.')));
    expect([...top].toSorted()).toEqual(
      [
        'CHANGELOG.md',
        'LICENSE',
        'README.md',
        'activities',
        'ops',
        'package-lock.json',
        'package.json',
        'runbooks',
        'test',
        'tsconfig.json',
        'workflows',
      ].toSorted(),
    );
  });

  it('imports one way only: ops → activities, runbooks → workflows/model', () => {
    const allowed: Record<string, (target: string) => boolean> = {
      workflows: (t) => room(t) === 'workflows',
      runbooks: (t) => room(t) === 'runbooks' || t.startsWith('workflows/model/'),
      activities: (t) => ['activities', 'runbooks'].includes(room(t)) || t.startsWith('workflows/model/'),
      ops: (t) => ['ops', 'activities', 'runbooks', 'workflows'].includes(room(t)),
    };
    const local = imports.filter((i) => files.includes(i.target));
    const wrong = local.filter((i) => {
      const rule = allowed[room(i.file)];
      // Types leave no trace at run time; workflows take the promises of activities that way.
      return rule !== undefined && !(i.typeOnly && room(i.file) === 'workflows') && !rule(i.target);
    });
    expect(wrong.map((i) => `${i.file} imports ${i.target}`)).toEqual([]);
  });

  it('keeps everything that is not deterministic out of the workflows', () => {
    const inWorkflows = code.filter((f) => f.startsWith('workflows/'));
    const wrong = inWorkflows.flatMap((file) => {
      const text = read(file).replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
      const packages = importsOf(file)
        .filter((i) => !i.typeOnly && !files.includes(i.target))
        .map((i) => i.target);
      const foreign = packages.filter((p) => !/^@temporalio\/(workflow|common)$|^@noble\//.test(p));
      const words = ['process.env', 'import.meta', 'Math.random', 'setTimeout', 'new Date()', 'throw new Error'].filter(
        (w) => text.includes(w),
      );
      return [...foreign, ...words].map((w) => `${file}: ${w}`);
    });
    expect(wrong).toEqual([]);
  });

  it('keeps the model free of the workflow runtime', () => {
    const wrong = imports.filter(
      (i) => i.file.startsWith('workflows/model/') && i.target === '@temporalio/workflow' && !i.typeOnly,
    );
    expect(wrong.map((i) => i.file)).toEqual([]);
  });
});

describe('habits', () => {
  it('gives every activity proxy its time-outs', () => {
    const proxies = code
      .filter((f) => f.startsWith('workflows/'))
      .flatMap((f) =>
        [...read(f).matchAll(/proxyActivities<[^>]*>\(\{[\s\S]*?\n {0,4}\}\)/g)].map((m) => ({ f, text: m[0] })),
      );
    expect(proxies.length).toBeGreaterThan(4);
    const wrong = proxies.filter(
      ({ text }) =>
        !['startToCloseTimeout', 'heartbeatTimeout', 'WAIT_CANCELLATION_COMPLETED'].every((w) => text.includes(w)),
    );
    expect(wrong.map(({ f }) => f)).toEqual([]);
  });

  it('pins exact versions, and a lock file without registry addresses', () => {
    const { dependencies, devDependencies } = JSON.parse(read('package.json')) as Record<
      'dependencies' | 'devDependencies',
      Record<string, string>
    >;
    const loose = Object.entries({ ...dependencies, ...devDependencies }).filter(
      ([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version),
    );
    expect(loose).toEqual([]);
    expect(read('package-lock.json')).not.toContain('"resolved"');
  });

  it('ends every import of its own with .ts, and skips no test', () => {
    const own = imports.filter(
      (i) => !i.target.startsWith('node:') && /^(workflows|activities|runbooks|ops|test)\//.test(i.target),
    );
    expect(own.filter((i) => !/\.(ts|mjs|json)$/.test(i.target)).map((i) => `${i.file}: ${i.target}`)).toEqual([]);
    const skipped = code
      .filter((f) => f.endsWith('.test.ts') && f !== 'test/tidy.test.ts')
      .filter((f) => /\b(it|test|describe)\.(skip|only|todo|fails)\b/.test(read(f)));
    expect(skipped).toEqual([]);
    // What begins first is there.
    expect(first.filter((f) => !files.includes(f))).toEqual([]);
  });

  it('leaves nothing in a process that runs many test files', () => {
    expect(apart.filter((glob) => !files.some((f) => matchesGlob(f, glob)))).toEqual([]);
    const together = files.filter((f) => f.endsWith('.test.ts') && !apart.some((glob) => matchesGlob(f, glob)));
    const lasting = /\bprocess\.(on|once|chdir|umask)\(|\bprocess\.exitCode =|\b(Runtime\.install|runWorker)\(/;
    expect(together.filter((f) => lasting.test(read(f)))).toEqual([]);
    // What a file sets, it takes back.
    const helpers = code.filter((f) => f.startsWith('test/') && !f.endsWith('.test.ts'));
    const sets = /\bprocess\.env\[[^\]]+\] = |\bvi\.(stubEnv|useFakeTimers)\(/;
    const takesBack = /\bvi\.(unstubAllEnvs|useRealTimers)\(|\bdelete process\.env\b/;
    expect([...together, ...helpers].filter((f) => sets.test(read(f)) && !takesBack.test(read(f)))).toEqual([]);
    // A helper is loaded once for all of them: what it does when it is loaded, the first file alone has.
    expect(helpers.filter((f) => /^(before|after)(Each|All)\(/m.test(read(f)))).toEqual([]);
  });
});
