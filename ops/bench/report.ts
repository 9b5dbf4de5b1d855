/** One measured claim, as `--json` prints it: a line of its own. */
export interface Figure {
  figure: string;
  /** Medians; `theirs` is null where nothing is set against ours, or its tool is not on this machine. */
  ours: number;
  theirs: number | null;
  unit: string;
  /** ours / theirs, in the unit given: of a rate more is better, of a time or a size less. */
  ratio: number | null;
  goal: string | null;
  /** null where there is no goal, or what it is held against could not be measured. */
  met: boolean | null;
  runs: number;
  oursRange: [min: number, max: number];
  theirsRange: [min: number, max: number] | null;
  /** What exactly was set against what. */
  note: string;
}

export interface FigureInput {
  figure: string;
  unit: string;
  ours: readonly number[];
  theirs: readonly number[];
  goal: { text: string; met: (ours: number, ratio: number | null) => boolean | null } | null;
  note: string;
}

/** The middle of the samples; between the two middle ones where their number is even. */
export function median(samples: readonly number[]): number {
  const sorted = samples.toSorted((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
  const lower = sorted[Math.ceil(sorted.length / 2) - 1] ?? Number.NaN;
  return (lower + upper) / 2;
}

/** A figure from its samples. No samples of theirs leave theirs, and whatever needs them, open. */
export function makeFigure({ figure, unit, ours, theirs, goal, note }: FigureInput): Figure {
  const our = median(ours);
  const their = theirs.length > 0 ? median(theirs) : null;
  const ratio = their === null || their === 0 ? null : our / their;
  return {
    figure,
    ours: rounded(our),
    theirs: their === null ? null : rounded(their),
    unit,
    ratio: ratio === null ? null : rounded(ratio),
    goal: goal?.text ?? null,
    met: goal ? goal.met(our, ratio) : null,
    runs: ours.length,
    oursRange: range(ours),
    theirsRange: theirs.length > 0 ? range(theirs) : null,
    note,
  };
}

/** A goal for the ratio alone. */
export const ratioAtLeast = (limit: number): NonNullable<FigureInput['goal']> => ({
  text: `ratio >= ${limit}`,
  met: (_, ratio) => (ratio === null ? null : ratio >= limit),
});
export const ratioAtMost = (limit: number): NonNullable<FigureInput['goal']> => ({
  text: `ratio <= ${limit}`,
  met: (_, ratio) => (ratio === null ? null : ratio <= limit),
});
export const below = (limit: number, unit: string): NonNullable<FigureInput['goal']> => ({
  text: `< ${limit} ${unit}`,
  met: (ours) => ours < limit,
});

const range = (samples: readonly number[]): [number, number] => [
  rounded(Math.min(...samples)),
  rounded(Math.max(...samples)),
];

/** Three or four digits that count; more would be noise. */
const rounded = (n: number): number => Number(n.toPrecision(4));

/** The table that stands in FIGURES.md: what was measured, and where. */
export function markdown(figures: readonly Figure[], conditions: readonly string[]): string[] {
  const number = (n: number | null): string => (n === null ? '–' : n.toLocaleString('en-US'));
  const verdict = (f: Figure): string => (f.met === null ? '' : f.met ? 'met' : 'missed');
  const rows = figures.map((f) =>
    [
      f.figure,
      `${number(f.ours)} ${f.unit}`,
      f.theirs === null ? '–' : `${number(f.theirs)} ${f.unit}`,
      number(f.ratio),
      f.goal ?? 'reported',
      verdict(f),
      f.note,
    ].join(' | '),
  );
  return [
    ...conditions.map((line) => `- ${line}`),
    '',
    '| figure | ours | theirs | ratio | goal | | what against what |',
    '| --- | --- | --- | --- | --- | --- | --- |',
    ...rows.map((row) => `| ${row} |`),
  ];
}
