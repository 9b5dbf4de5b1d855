import type { VaultAccess } from '../../../activities/settings.ts';
import { Fault } from '../../fault.ts';
import type { Ground } from '../cluster.ts';
import type { People, Populations, Size } from '../data.ts';
import type { Engine } from '../ours.ts';
import type { Figure } from '../report.ts';
import type { Theirs } from '../theirs.ts';

/** What the measurements share. */
export interface Bench {
  ground: Ground;
  populations: Populations;
  ours: Engine;
  theirs: Theirs;
  /** How often each side does its work. */
  runs: number;
  /** Snapshots in the chain of `chain-90`. */
  chain: number;
  sizes: Sizes;
  say: (line: string) => void;
}

/** All sizes follow from one, which `--users` shrinks for short runs. */
export interface Sizes {
  base: Size;
  /** Ten times the users with a tenth of the contacts each, so that both hold as many rows. */
  large: Size;
  small: Size;
  /** Between which the cost of a user must not grow. */
  from: Size;
  to: Size;
}

export function sizesFor(users: number): Sizes {
  const contacts = 100;
  return {
    base: { users, contacts },
    large: { users: users * 10, contacts: contacts / 10 },
    small: { users: Math.max(2, Math.round(users / 20)), contacts },
    from: { users: Math.max(2, Math.round(users / 2)), contacts },
    to: { users: users * 5, contacts },
  };
}

/** Measurements that are made together, and the figures that come of them. */
export interface Measurement {
  figures: readonly string[];
  measure: (bench: Bench) => Promise<Figure[]>;
}

/**
 * Runs works in turn, so that whatever else the machine does meets all of them, and every other round backwards, so that
 * none has the place of honour. `before` begins each round.
 */
export async function alternate(
  rounds: number,
  works: readonly ((round: number) => Promise<void>)[],
  before: (round: number) => Promise<unknown> = () => Promise.resolve(),
): Promise<void> {
  for (let round = 1; round <= rounds; round += 1) {
    await before(round);
    for (const work of round % 2 === 1 ? works : works.toReversed()) await work(round);
  }
}

/** Lends a vault that nobody has written to. */
export async function withVault<T>({ ground }: Bench, work: (vault: VaultAccess) => Promise<T>): Promise<T> {
  const vault = await ground.newVault();
  try {
    return await work(vault);
  } finally {
    await ground.dropVault(vault);
  }
}

/** A first snapshot into a vault of its own, which is gone afterwards. */
export async function firstSnapshot(bench: Bench, people: People): ReturnType<Engine['snapshot']> {
  await bench.ours.forget(people.url);
  const taken = await withVault(bench, (vault) => bench.ours.snapshot(people.url, vault));
  if (taken.users === people.users) return taken;
  throw new Fault(
    `first snapshot: ${taken.users} users, expected were ${people.users}`,
    'A snapshot that leaves somebody out has no time to be told.',
  );
}

/** Keeps a sample where there is one: a tool may not be on this machine. */
export function keep(samples: number[], sample: number | null | undefined): void {
  if (sample !== null && sample !== undefined) samples.push(sample);
}

export const MIB = 1024 * 1024;
/** What the process that moves data may hold, whatever the number of users. */
export const MEMORY_MIB = 256;
