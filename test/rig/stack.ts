import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { down } from '../../ops/embedded/control.ts';
import { up, type Stack } from '../../ops/embedded/stack.ts';
import { spareDisk } from './sql.ts';

/** One stack for all test files: real servers, workflows whose clock can be moved, and no workers: tests bring their own. */

declare module 'vitest' {
  export interface ProvidedContext {
    stack: Stack;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), 'tandem-rig-'));
  const stop = async (): Promise<void> => {
    await down(folder);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const stack = await up({ folder, workers: false, service: false, timeSkipping: true });
    for (const { superuserUrl } of Object.values(stack.sites)) await spareDisk(superuserUrl);
    project.provide('stack', stack);
  } catch (error) {
    await stop();
    throw error;
  }
  return stop;
}
