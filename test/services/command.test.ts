import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { commandEffect } from '../../activities/services/command.ts';
import type { OutsideCall } from '../../activities/services/port.ts';
import type { CommandSettings, SiteSettings } from '../../activities/settings.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import { commandService, type CommandService } from './outside.ts';

/** What only a command can do wrong. The promises of every effect outside are in outside.test.ts. */

let service: CommandService;
beforeAll(async () => {
  service = await commandService();
});
afterAll(() => service.close());
afterEach(() => void vi.unstubAllEnvs());

const call: OutsideCall = {
  key: 'contoso/2/warn/0',
  customer: 'contoso',
  move: 'a-move',
  epoch: 2,
  act: 'run-command',
  step: 'warn',
  round: 0,
  from: 'east',
  to: 'west',
};

function run(argv: string[], change: Partial<CommandSettings> = {}): Promise<StepResult> {
  const good = { run: argv, timeoutMs: 5000, outputBytes: 65_536, environment: [], check: null };
  const settings = { site: 'west', commands: new Map([['warn', { ...good, ...change }]]) } as unknown as SiteSettings;
  return commandEffect(settings).perform('warn', call, { limitMs: 5000, signal: new AbortController().signal });
}

/** Processes that supervise for this one. */
async function supervisors(): Promise<number[]> {
  const found: number[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const words = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
    const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    if (words.includes('services/supervisor.ts') && parent === process.pid) found.push(Number(pid));
  }
  return found;
}

describe('a command', () => {
  it('never sees the environment of the worker, but for what its entry names', async () => {
    vi.stubEnv('TEST_SECRET', 'secret');
    vi.stubEnv('TEST_PASSED', 'passed');
    await run([service.script, 'environment', service.folder], { environment: ['TEST_PASSED', 'TEST_NOT_SET'] });
    const lines = (await readFile(join(service.folder, 'environment'), 'utf8')).trim().split('\n');
    const ofTheShell = /^(PWD|OLDPWD|SHLVL|_)=/;
    expect(lines.filter((line) => !ofTheShell.test(line)).toSorted()).toEqual([
      'PATH=/usr/local/bin:/usr/bin:/bin',
      'TANDEM_ACT=run-command',
      'TANDEM_CUSTOMER=contoso',
      'TANDEM_EPOCH=2',
      'TANDEM_FROM=east',
      'TANDEM_KEY=contoso/2/warn/0',
      'TANDEM_MOVE=a-move',
      'TANDEM_ROUND=0',
      'TANDEM_STEP=warn',
      'TANDEM_TO=west',
      'TEST_PASSED=passed',
    ]);
  });

  it('is never read by a shell', async () => {
    const words = ['$(id)', '; id', '`id`', '*', '$PATH'];
    await expect(run(['/bin/sh', '-c', 'printf "%s|" "$@" >&2; exit 1', 'sh', ...words])).rejects.toThrow(
      `command warn: ended with code 1: ${words.join('|')}|`,
    );
  });

  it('that fails tells the end of what it printed: one line, short, nothing a terminal obeys', async () => {
    await expect(run([service.script, 'refusing', service.folder])).rejects.toMatchObject({
      type: 'command-refused',
      message: 'command warn: ended with code 3: first line [31mno such line [0m',
    });
    const error: unknown = await run(['/bin/sh', '-c', 'head -c 5000 /dev/zero | tr "\\0" x; exit 1']).catch(
      (e: unknown) => e,
    );
    expect((error as Error).message.length).toBeLessThan(340);
  });

  it('that cannot be started, or is ended by a signal, says so', async () => {
    await expect(run(['/nowhere/at/all'])).rejects.toMatchObject({
      type: 'command-refused',
      message: 'command warn: cannot be started: ENOENT',
    });
    await expect(run(['/bin/sh', '-c', 'kill -TERM $$'])).rejects.toThrow('command warn: was ended by SIGTERM');
  });

  it('does not outlive its supervisor, when that is killed with -9', async () => {
    const slow = service.commands.get('slow');
    if (!slow) throw new Error('no entry');
    const running = run([...slow.run], slow);
    running.catch(() => undefined);
    await expect.poll(() => service.underWay()).toBeGreaterThan(2);
    for (const pid of await supervisors()) process.kill(pid, 'SIGKILL');
    await expect(running).rejects.toMatchObject({ type: 'command-failed', nonRetryable: false });
    await expect.poll(() => service.underWay()).toBe(0);
  });

  it('that leaves its group keeps nobody waiting', async () => {
    const start = performance.now();
    await run(['/bin/sh', '-c', 'setsid sleep 5 & exit 0']);
    expect(performance.now() - start).toBeLessThan(4000);
  });
});
