import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';
import { Spare } from '../../activities/mover/spare.ts';

const given: ReturnType<Spare['take']>[] = [];
const take = (spare: Spare): ReturnType<Spare['take']> => {
  const child = spare.take();
  given.push(child);
  return child;
};
afterEach(() => {
  for (const child of given.splice(0)) child.kill('SIGKILL');
});

/** Processes of this one, by their ids. */
async function children(): Promise<number[]> {
  const { stdout } = await promisify(execFile)('ps', ['-o', 'pid=,args=', '--ppid', String(process.pid)]);
  return stdout
    .split('\n')
    .filter((line) => line.includes('mover/main.ts'))
    .map(Number.parseFloat);
}

describe('a process that waits for its job', () => {
  it('is one, and is given once: nobody gets what another has', async () => {
    const spare = new Spare();
    spare.keep();
    spare.keep();
    const [kept, ...others] = await children();
    expect(others).toEqual([]);
    const [first, second] = [take(spare), take(spare)];
    expect(first.pid).toBe(kept);
    expect(second.pid).not.toBe(kept);
  });

  it('is not given once it has ended', async () => {
    const spare = new Spare();
    spare.keep();
    const [kept = 0] = await children();
    process.kill(kept, 'SIGKILL');
    const next = take(spare);
    // Its end may not have been heard of yet; then it is heard of by whoever has it.
    if (next.pid === kept) await once(next, 'exit');
    expect(take(spare).pid).not.toBe(kept);
    await expect.poll(children).not.toContain(kept);
  });

  it('ends when nothing came for it', async () => {
    const spare = new Spare(300);
    spare.keep();
    expect(await children()).toHaveLength(1);
    await expect.poll(children).toEqual([]);
  });

  it('keeps nobody alive', async () => {
    const module = fileURLToPath(new URL('../../activities/mover/spare.ts', import.meta.url));
    const program = `const { Spare } = await import(${JSON.stringify(module)}); new Spare().keep(); console.log('done');`;
    const ended = promisify(execFile)(process.execPath, ['--input-type=module', '-e', program], { timeout: 60_000 });
    expect((await ended).stdout).toBe('done\n');
  });
});
