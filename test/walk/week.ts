import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Tally } from './failover/main.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** What `npm test` tells of a few people and one seed. */
const sizes = [
  { users: 60, days: 7 },
  { users: 200, days: 7 },
  { users: 400, days: 21 },
];

/** The story of a week at the other site, of more people, more days and seeds that nobody has seen. */
export async function walkWeek({ say, seed }: { say: (line: string) => void; seed?: number }): Promise<Tally> {
  const tally: Tally = { passed: 0, failed: 0 };
  for (const size of sizes) {
    const told = { ...size, seed: seed ?? Math.floor(Math.random() * 1e9) };
    const named = `week: ${told.users} users, ${told.days} days, seed ${told.seed}`;
    const code = await tests(told);
    if (code === 0) tally.passed += 1;
    else tally.failed += 1;
    say(code === 0 ? named : `FAILED ${named}\n  again: npm run walk -- --only week --from ${told.seed}`);
  }
  return tally;
}

function tests(size: object): Promise<number> {
  const args = ['run', '--config', 'test/vitest.config.ts', '--reporter=dot', 'test/week/week.test.ts'];
  return new Promise((resolve) => {
    const child = spawn('node_modules/.bin/vitest', args, {
      cwd: root,
      stdio: 'inherit',
      env: { ...process.env, TANDEM_WEEK: JSON.stringify(size) },
    });
    child.once('error', () => resolve(1));
    child.once('close', (code) => resolve(code ?? 1));
  });
}
