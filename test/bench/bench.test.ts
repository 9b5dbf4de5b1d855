import { beforeAll, describe, expect, it } from 'vitest';
import { benchFailover, failoverFigures } from '../../ops/bench/failover/run.ts';
import { markdown, median, type Figure } from '../../ops/bench/report.ts';
import { benchVault, figureNames } from '../../ops/bench/vault.ts';
import { findTools, type Tools } from '../../ops/bench/tools.ts';
import { points } from '../rig/form.ts';

/** The harness on few users, with the tools that this machine has. What it measures is no test's business. */

/** Figures that no sound measurement gives: without a value in its range, or a verdict where there is no goal. */
const unsound = (figures: readonly Figure[]): Figure[] =>
  figures.filter(({ ours, oursRange: [min, max], unit, ratio, theirs, goal, met }) => {
    const sound = ours > 0 && min <= ours && ours <= max && unit !== '';
    return !sound || (ratio === null) !== (theirs === null) || (goal === null && met !== null);
  });

describe('bench failover', () => {
  it('tells every figure once that is asked for, each sound, of moves that come to their end', async () => {
    const told: Figure[] = [];
    // Those of many customers, and of addresses that hang, take their time.
    const only = failoverFigures.filter((name) => !/^(?:at-once|beside|hung)/.test(name));
    await benchFailover({
      users: 20,
      runs: 1,
      atOnce: 1,
      only,
      say: () => undefined,
      tell: (figure) => told.push(figure),
      signal: new AbortController().signal,
    });
    expect(told.map(({ figure }) => figure)).toEqual(only);
    expect(unsound(told)).toEqual([]);
    // The bounds are no matter of time.
    expect(told.filter(({ figure }) => figure.startsWith('history')).map(({ met }) => met)).toEqual([true, true]);
  }, 300_000);
});

/** Each thing that is measured against other tools' once; what only takes longer is of the long form. */
const short = [
  'first-snapshot',
  'first-snapshot-z1',
  'upload-1pct',
  'snapshot-1pct-time',
  'full-restore',
  'full-restore-live',
  'restore-1pct',
  'memory-restore',
];
const asked = points(
  short,
  figureNames.filter((name) => !short.includes(name)),
);

describe('bench vault', () => {
  const told: Figure[] = [];
  let tools: Tools;
  let conditions: string[] = [];

  beforeAll(async () => {
    tools = await findTools();
    const result = await benchVault({
      users: 100,
      runs: 1,
      chain: 2,
      only: asked,
      install: false,
      say: () => undefined,
      tell: (figure) => told.push(figure),
      signal: new AbortController().signal,
    });
    conditions = result.conditions;
  }, 300_000);

  it('tells every figure once', () => {
    expect(told.map(({ figure }) => figure).toSorted()).toEqual(asked.toSorted());
  });

  it('gives each a median within its range, a unit, and a verdict only where there is a goal', () => {
    expect(unsound(told)).toEqual([]);
  });

  it('leaves open what a missing tool would have measured, and measures what it can', () => {
    const theirs = (name: string): number | null => told.find(({ figure }) => figure === name)?.theirs ?? null;
    expect(theirs('first-snapshot') !== null).toBe(tools.postgres !== null);
    expect(theirs('full-restore') !== null).toBe(tools.postgres !== null);
    expect(theirs('upload-1pct') !== null).toBe(tools.postgres !== null && tools.restic !== null);
  });

  it('prints a table for people with the conditions above it', () => {
    const lines = markdown(told, conditions);
    expect(lines.filter((line) => line.startsWith('| '))).toHaveLength(told.length + 2);
    expect(conditions.join('\n')).toMatch(/\d cores[\s\S]*PostgreSQL \d+[\s\S]*medians of 1 runs/);
  });

  it('refuses a figure that it does not know, before anything starts', async () => {
    const never = (): never => {
      throw new Error('it started');
    };
    const signal = new AbortController().signal;
    const wrong = { users: 500, runs: 1, chain: 1, only: ['speed'], install: false, say: never, tell: never, signal };
    await expect(benchVault(wrong)).rejects.toThrow('figure speed: unknown');
  });
});

describe('median', () => {
  it('is the middle one, or lies between the two middle ones', () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([4, 1, 2, 9])).toBe(3);
  });
});
