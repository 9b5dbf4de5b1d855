import { availableParallelism } from 'node:os';
import { Fault } from '../fault.ts';
import { openGround } from './cluster.ts';
import { Populations } from './data.ts';
import { sizesFor, type Bench, type Measurement } from './figures/bench.ts';
import { chain } from './figures/chain.ts';
import { delta, deltaLarge } from './figures/delta.ts';
import { first } from './figures/first.ts';
import { restore } from './figures/restore.ts';
import { cost, memory } from './figures/sizes.ts';
import { createEngine } from './ours.ts';
import type { Figure } from './report.ts';
import { createTheirs } from './theirs.ts';
import { findTools, installTools } from './tools.ts';
import { unlessStopped } from './stopped.ts';

export interface VaultBenchOptions {
  users: number;
  runs: number;
  chain: number;
  /** Figures to measure; all where there are none. */
  only: readonly string[];
  /** Install PostgreSQL and restic where they are missing. Otherwise what they would measure stays open. */
  install: boolean;
  say: (line: string) => void;
  /** Hears each figure as soon as it is known. */
  tell: (figure: Figure) => void;
  signal: AbortSignal;
}

/**
 * The largest data last. Changes come before restores: a restore puts all rows of a user side by side, and what changes
 * next would lie together as it never does in life.
 */
const measurements: readonly Measurement[] = [first, delta, chain, deltaLarge, restore, memory, cost];

export const figureNames = measurements.flatMap(({ figures }) => figures);

/**
 * Measures the vault against the tools that a user would take instead, on one server and the same data, in turn. All that
 * it starts and writes is gone when it ends, also when `signal` ends it.
 */
export async function benchVault(options: VaultBenchOptions): Promise<{ figures: Figure[]; conditions: string[] }> {
  const { only, say, signal } = options;
  const unknown = only.filter((name) => !figureNames.includes(name));
  if (unknown.length > 0)
    throw new Fault(`figure ${unknown.join(', ')}: unknown`, `One of ${figureNames.join(', ')}, separated by commas.`);
  const tools = options.install ? await installTools(say, signal) : await findTools();
  const ground = await openGround(tools, signal);
  try {
    const bench: Bench = {
      ground,
      populations: new Populations(ground, say),
      ours: createEngine(signal),
      theirs: createTheirs(tools, ground.folder, signal),
      runs: options.runs,
      chain: options.chain,
      sizes: sizesFor(options.users),
      say,
    };
    const figures = await unlessStopped(signal, measureAll(bench, options));
    const conditions = [
      `${availableParallelism()} cores for all together: server, gateway and whoever is measured`,
      ...ground.conditions,
      `medians of ${options.runs} runs, of all with the start of their processes`,
    ];
    return { figures, conditions };
  } finally {
    await ground.close();
  }
}

async function measureAll(bench: Bench, { only, tell, signal }: VaultBenchOptions): Promise<Figure[]> {
  const wanted = (name: string): boolean => only.length === 0 || only.includes(name);
  const all: Figure[] = [];
  for (const { figures, measure } of measurements) {
    if (!figures.some(wanted)) continue;
    signal.throwIfAborted();
    const measured = (await measure(bench)).filter(({ figure }) => wanted(figure));
    measured.forEach(tell);
    all.push(...measured);
  }
  return all;
}
