import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { Order } from './rig/order.ts';

export default defineConfig({
  root: fileURLToPath(new URL('..', import.meta.url)),
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/rig/stack.ts'],
    pool: 'forks',
    sequence: { sequencer: Order },
    // Twice the cores of the smallest machine: half of the time is waited away. More only make time-outs.
    maxWorkers: 4,
    testTimeout: 60_000,
    hookTimeout: 120_000,
    teardownTimeout: 30_000,
    // What is waited for comes when the machine has time; a second is no claim of anybody's.
    expect: { poll: { timeout: 20_000, interval: 100 } },
  },
});
