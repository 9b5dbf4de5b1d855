import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { inject } from 'vitest';

const main = fileURLToPath(new URL('../../ops/cli/main.ts', import.meta.url));

export interface Said {
  code: number | null;
  out: string;
  err: string;
}

/** Types a command line in a folder, as an operator would, with the rig's configuration unless `env` names another. */
export function typed(cwd: string, args: string[], env: Record<string, string> = {}): Promise<Said> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [main, ...args], {
      cwd,
      env: { ...process.env, TANDEM_CONFIG: inject('stack').configuration, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const said = { code: null, out: '', err: '' } as Said;
    child.stdout.on('data', (chunk: Buffer) => (said.out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (said.err += chunk.toString()));
    child.once('close', (code) => resolve({ ...said, code }));
  });
}
