import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { buildWorkflows, digestOfSources } from '../../ops/build.ts';

const run = promisify(execFile);

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tandem-build-'));
});
afterEach(() => rm(folder, { recursive: true }));

describe('workflows that were bundled before', () => {
  it('are taken only if they are whole, and were made of the same files', async () => {
    const kept = join(folder, 'workflows');
    const built = await buildWorkflows(kept);
    const stands = await readFile(kept, 'utf8');
    let times = 0;
    const again = (): Promise<string> => {
      times += 1;
      return Promise.resolve(built.workflowBundle.code);
    };
    expect([await buildWorkflows(kept, again), times]).toEqual([built, 0]);
    const other = stands.replace(/^\w/, (digit) => (digit === '0' ? '1' : '0'));
    for (const [i, bad] of ['', stands.slice(0, -100), stands.replace('declare', 'DECLARE'), other].entries()) {
      await writeFile(kept, bad);
      expect([await buildWorkflows(kept, again), times]).toEqual([built, i + 1]);
      expect(await readFile(kept, 'utf8')).toBe(stands); // Mended, for the next start.
    }
  });

  it('are the same from wherever the process was started', async () => {
    const { href } = new URL('../../ops/build.ts', import.meta.url);
    const ids = [(await buildWorkflows(join(folder, 'here'))).buildId];
    for (const cwd of [folder, '/']) {
      const kept = JSON.stringify(join(folder, String(ids.length)));
      const program = `const { buildWorkflows } = await import('${href}'); console.log((await buildWorkflows(${kept})).buildId)`;
      const { stdout } = await run(process.execPath, ['--input-type=module', '-e', program], { cwd });
      ids.push(stdout.trim());
    }
    expect(new Set(ids).size).toBe(1);
  });

  it('are others when a workflow, a library or the way of bundling is another', async () => {
    await mkdir(join(folder, 'workflows', 'move'), { recursive: true });
    await mkdir(join(folder, 'ops'));
    const files = ['workflows/index.ts', 'workflows/move/walk.ts', 'package-lock.json', 'ops/build.ts'];
    const put = (file: string, text: string): Promise<void> => writeFile(join(folder, file), text);
    for (const file of files) await put(file, 'as it was');
    const before = await digestOfSources(folder);
    for (const file of files) {
      await put(file, 'changed');
      expect(await digestOfSources(folder)).not.toBe(before);
      await put(file, 'as it was');
    }
    expect(await digestOfSources(folder)).toBe(before);
    await put('workflows/new.ts', '');
    expect(await digestOfSources(folder)).not.toBe(before);
  });
});
