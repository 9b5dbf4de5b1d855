import { availableParallelism } from 'node:os';
import { Fault } from '../../fault.ts';
import type { Figure } from '../report.ts';
import { atOnce } from './at-once.ts';
import { unlessStopped } from '../stopped.ts';
import type { FailoverBench, FailoverMeasurement } from './bench.ts';
import { openGround } from './ground.ts';
import { hung } from './hung.ts';
import { served } from './served.ts';

export interface FailoverBenchOptions {
  users: number;
  runs: number;
  atOnce: number;
  /** Figures to measure; all where there are none. */
  only: readonly string[];
  say: (line: string) => void;
  /** Hears each figure as soon as it is known. */
  tell: (figure: Figure) => void;
  signal: AbortSignal;
}

const measurements: readonly FailoverMeasurement[] = [served, hung, atOnce];

export const failoverFigures = measurements.flatMap(({ figures }) => figures);

/** Measures failovers on a stack of their own, which is gone when it ends. */
export async function benchFailover(
  options: FailoverBenchOptions,
): Promise<{ figures: Figure[]; conditions: string[] }> {
  const { only, signal } = options;
  const unknown = only.filter((name) => !failoverFigures.includes(name));
  if (unknown.length > 0)
    throw new Fault(
      `figure ${unknown.join(', ')}: unknown`,
      `One of ${failoverFigures.join(', ')}, separated by commas.`,
    );
  const ground = await openGround(signal);
  try {
    const figures = await unlessStopped(signal, measureAll(ground, options));
    const conditions = [
      `${availableParallelism()} cores for all together: PostgreSQL, vault and Temporal of both sites, the worker and its data movers`,
      `medians of ${options.runs} runs`,
    ];
    return { figures, conditions };
  } finally {
    await ground.close();
  }
}

async function measureAll(ground: FailoverBench['ground'], options: FailoverBenchOptions): Promise<Figure[]> {
  const { only, tell, signal } = options;
  const wanted = (name: string): boolean => only.length === 0 || only.includes(name);
  const all: Figure[] = [];
  for (const { figures, measure } of measurements) {
    if (!figures.some(wanted)) continue;
    signal.throwIfAborted();
    const measured = (await measure({ ground, ...options })).filter(({ figure }) => wanted(figure));
    measured.forEach(tell);
    all.push(...measured);
  }
  return all;
}
