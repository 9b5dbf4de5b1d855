import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { operatorKeyPath } from '../../../ops/embedded/configuration.ts';
import type { World } from '../failover/world.ts';

const main = fileURLToPath(new URL('../../../ops/cli/main.ts', import.meta.url));

/** Of one command and what follows it, so that a line which always names another is found out. */
const LONGEST_CHAIN = 8;

/** A row of `tandem test list`. */
const RUNNING = /  live +(?:planning|beginning|going|there|returning|cleaning) /;

/** Words by which something is asked for or signed; the others only show. */
const ACTING = /^tandem (relocate|failback) (start|watch|approve|abort|turn-back|retry|resume) /;

/**
 * People who know nothing of a live test but what is printed: they type the command after `Next:`, and the one that it prints, with
 * their names, keys and reasons put in. Two of them take turns.
 */
export class Crew {
  private readonly world: World;
  private readonly operators: string[];
  private turn = 0;
  private child: ChildProcess | null = null;
  /** What they typed, for whoever wonders. */
  readonly typed: string[] = [];

  constructor(world: World) {
    this.world = world;
    this.operators = [...world.operators.keys()];
  }

  /** Types what stands there, and what that names, until a line only shows something. Whatever is refused is named again by the test. */
  async follow(line: string, stop?: AbortSignal): Promise<void> {
    for (let next: string | null = line, i = 0; next !== null && i < LONGEST_CHAIN; i += 1) {
      if (!ACTING.test(next) || stop?.aborted) return;
      next = nextIn((await this.type(next)).out);
    }
  }

  /** What the list of tests names, and whether one runs at all. */
  async asked(): Promise<{ runs: boolean; next: string | null }> {
    const { out } = await this.type(`tandem test list --customer ${this.world.customer}`);
    return { runs: RUNNING.test(out), next: nextIn(out) };
  }

  async begin(site: string, cohort: string): Promise<string | null> {
    const about = `--customer ${this.world.customer} --site ${site} --kind live --cohort ${cohort}`;
    return nextIn(await this.must(`tandem test start ${about}`, 3));
  }

  async abort(): Promise<string | null> {
    const about = `--customer ${this.world.customer} --operator ID --key FILE --because TEXT`;
    return nextIn(await this.must(`tandem test abort ${about}`, 0));
  }

  private async must(line: string, wanted: number): Promise<string> {
    const { code, out, err } = await this.type(line);
    if (code !== wanted) throw new Error(`${line}: ended with ${code}: ${err}${out}`);
    return out;
  }

  /** Whoever follows a move stops, as with Ctrl-C. */
  interrupt(): void {
    this.child?.kill('SIGINT');
  }

  async type(line: string): Promise<{ code: number | null; out: string; err: string }> {
    const operator = this.operators[this.turn++ % this.operators.length] ?? '';
    const values: Record<string, string> = {
      ID: operator,
      FILE: operatorKeyPath(this.world.stack.folder, operator),
      TEXT: 'this walk aborts it',
    };
    const words = [...line.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)].map(([, quoted, word]) => quoted ?? word ?? '');
    this.typed.push(line);
    return new Promise((resolve) => {
      const args = words.slice(1).map((word) => values[word] ?? word);
      const env = { ...process.env, TANDEM_CONFIG: this.world.stack.configuration };
      const child = spawn(process.execPath, [main, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
      this.child = child;
      const said = { out: '', err: '' };
      child.stdout.on('data', (chunk: Buffer) => (said.out += chunk.toString()));
      child.stderr.on('data', (chunk: Buffer) => (said.err += chunk.toString()));
      child.once('close', (code) => {
        if (this.child === child) this.child = null;
        resolve({ ...said, code });
      });
    });
  }
}

const nextIn = (said: string): string | null => /^Next: (.*)$/m.exec(said)?.[1] ?? null;
