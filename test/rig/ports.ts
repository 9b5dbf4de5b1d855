import { randomInt } from 'node:crypto';
import { isFree } from '../../ops/embedded/ports.ts';

/**
 * Below the ports of stacks, and below the range from which the kernel names ports: one that nobody listens on yet is not
 * handed to whoever asks the kernel for any, in this process or another.
 */
const [FIRST, END] = [10_000, 17_000];

const given = new Set<number>();

/** A port of loopback that nobody listens on, now, and that this process was not given before. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(FIRST, END);
    if (given.has(port) || !(await isFree(port))) continue;
    given.add(port);
    return port;
  }
}
