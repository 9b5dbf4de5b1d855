import { Fault } from '../fault.ts';

/** Several faults of what a configuration names; each names its own place. */
export class Faults extends Fault {
  readonly all: readonly Fault[];

  constructor(all: readonly Fault[]) {
    const tries = new Set(all.map((fault) => fault.try));
    super(
      `${all.length} faults\n${all.map(({ message }) => `  ${message}`).join('\n')}`,
      tries.size === 1 ? ([...tries][0] ?? '') : 'Correct each of them; `tandem config check` reads all again.',
    );
    this.all = all;
  }
}

/** As Promise.all, but who has several faults is told all of them, not the first alone. */
export async function together<T extends readonly unknown[] | []>(
  tasks: T,
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  const ended = await Promise.allSettled(tasks);
  const faults: Fault[] = [];
  for (const one of ended) {
    if (one.status === 'fulfilled') continue;
    const reason: unknown = one.reason;
    // What is no fault of the configuration is not one among many.
    if (!(reason instanceof Fault)) return Promise.all(tasks);
    faults.push(...(reason instanceof Faults ? reason.all : [reason]));
  }
  // One secret may be named in many places.
  const each = [...new Map(faults.map((fault) => [fault.message, fault])).values()];
  const [first] = each;
  if (first) throw each.length === 1 ? first : new Faults(each);
  return Promise.all(tasks);
}
