import type { Figure } from '../report.ts';
import type { Ground } from './ground.ts';

/** What the measurements share. */
export interface FailoverBench {
  ground: Ground;
  /** How often each failover is made. */
  runs: number;
  /** In the lost half of the large customer. */
  users: number;
  /** Most customers that fail over at once; a tenth of them is measured as well. */
  atOnce: number;
  say: (line: string) => void;
}

/** Measurements that are made together, and the figures that come of them. */
export interface FailoverMeasurement {
  figures: readonly string[];
  measure: (bench: FailoverBench) => Promise<Figure[]>;
}

export const seconds = (ms: number): number => ms / 1000;
