import { spawn } from 'node:child_process';
import { Fault } from '../fault.ts';

export interface RunOptions {
  env?: NodeJS.ProcessEnv;
  input?: string;
  signal: AbortSignal;
}

/**
 * Runs a program to its end and answers with its output and how long it took, its start included. One that fails is a
 * fault that shows what it said last.
 */
export function run(command: string, args: string[], options: RunOptions): Promise<{ output: string; ms: number }> {
  const { env = process.env, input, signal } = options;
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const child = spawn(command, args, { env, signal, killSignal: 'SIGTERM', stdio: ['pipe', 'pipe', 'pipe'] });
    const output: Buffer[] = [];
    let said = '';
    child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-4000)));
    child.stdin.on('error', () => undefined); // A program that ends early says why by its exit code.
    child.stdin.end(input ?? '');
    child.once('error', reject);
    child.once('close', (code) => {
      const ms = performance.now() - started;
      if (code === 0) resolve({ output: Buffer.concat(output).toString(), ms });
      else
        reject(
          new Fault(`${command}: exit code ${code}: ${said.trim().split('\n').slice(-5).join('\n')}`, 'See its words.'),
        );
    });
  });
}
