import type { Step } from '../workflows/model/plan.ts';

type Node = Pick<Step, 'id' | 'needs'>;

const WIDTH = 100;
const ARROW = ' ──▶ ';

/** Steps by when they can start at the earliest: those of a level have all they need in levels before it. */
export function levelsOf<S extends Node>(steps: readonly S[]): S[][] {
  const levels = new Map<string, number>();
  const levelOf = (step: S): number => {
    const known = levels.get(step.id);
    if (known !== undefined) return known;
    const level = 1 + Math.max(-1, ...steps.filter((s) => step.needs.includes(s.id)).map(levelOf));
    levels.set(step.id, level);
    return level;
  };
  const found: S[][] = [];
  for (const step of steps) (found[levelOf(step)] ??= []).push(step);
  return found;
}

/**
 * Levels from left to right, as many as a terminal is wide; then what is needed and does not stand one column to the
 * left alone, which a drawing of columns cannot show.
 */
export function draw(steps: readonly Node[]): string[] {
  const levels = levelsOf(steps);
  const lines: string[] = [];
  for (let from = 0; from < levels.length;) {
    const to = fitting(levels, from);
    lines.push(...band(levels.slice(from, to), to < levels.length), '');
    from = to;
  }
  const needing = steps.filter(({ needs }) => needs.length > 0);
  const width = Math.max(0, ...needing.map(({ id }) => id.length));
  return [...lines, ...needing.map(({ id, needs }) => `${id.padEnd(width)}  waits for ${needs.join(', ')}`)];
}

const widthOf = (level: readonly Node[]): number => Math.max(...level.map(({ id }) => id.length)) + 2;

function fitting(levels: readonly (readonly Node[])[], from: number): number {
  let width = 0;
  let to = from;
  while (to < levels.length) {
    width += widthOf(levels[to] ?? []) + ARROW.length;
    if (width > WIDTH && to > from) break;
    to += 1;
  }
  return to;
}

function band(levels: readonly (readonly Node[])[], goesOn: boolean): string[] {
  const rows = Math.max(...levels.map((level) => level.length));
  return Array.from({ length: rows }, (_, row) =>
    levels
      .map((level, column) => {
        const step = level[row];
        const cell = (step ? `[${step.id}]` : '').padEnd(widthOf(level));
        const more = column + 1 < levels.length || goesOn;
        return more ? `${cell}${row === 0 ? ARROW : ' '.repeat(ARROW.length)}` : cell;
      })
      .join('')
      .trimEnd(),
  );
}
