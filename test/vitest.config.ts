import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { apart, Order } from './rig/order.ts';

const each = {
  root: fileURLToPath(new URL('..', import.meta.url)),
  pool: 'forks',
  // Twice the cores of the smallest machine: half of the time is waited away. More only make time-outs.
  maxWorkers: 4,
  testTimeout: 180_000,
  hookTimeout: 120_000,
  // What is waited for comes when the machine has time; a second is no claim of anybody's.
  expect: { poll: { timeout: 20_000, interval: 100 } },
} as const;

export default defineConfig({
  root: each.root,
  test: {
    globalSetup: ['test/rig/stack.ts'],
    maxWorkers: each.maxWorkers,
    sequence: { sequencer: Order },
    teardownTimeout: 30_000,
    projects: [
      { root: each.root, test: { ...each, name: 'apart', include: apart } },
      {
        root: each.root,
        test: { ...each, name: 'shared', isolate: false, include: ['test/**/*.test.ts'], exclude: apart },
      },
    ],
  },
});
