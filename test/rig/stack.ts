import { mkdtemp, rm, statfs } from 'node:fs/promises';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { buildWorkflows } from '../../ops/build.ts';
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
  const folder = await mkdtemp(join(await place(), 'tandem-rig-'));
  const stop = async (): Promise<void> => {
    await down(folder);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    // The bundle of a new checkout is made here, once: else by every file that begins meanwhile.
    const [stack] = await Promise.all([
      up({ folder, workers: false, service: false, timeSkipping: true }),
      buildWorkflows(),
    ]);
    for (const { superuserUrl } of Object.values(stack.sites)) await spareDisk(superuserUrl);
    project.provide('stack', stack);
  } catch (error) {
    await stop();
    throw error;
  }
  return stop;
}

const MEMORY = '/dev/shm';
const LEAST_BYTES = 8 * 1024 ** 3;

/**
 * In memory, where there is room: thousands of databases are made and dropped, and ext4 looks long for an inode among those
 * that were just freed. The S3 gateway keeps what it knows in attributes of files, which tmpfs has had since Linux 6.6.
 */
async function place(): Promise<string> {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  const there = await statfs(MEMORY).catch(() => null);
  const fits = there !== null && there.bavail * there.bsize >= LEAST_BYTES;
  return fits && (major > 6 || (major === 6 && minor >= 6)) ? MEMORY : tmpdir();
}
