import { below, makeFigure, type Figure } from '../report.ts';
import type { Size } from '../data.ts';
import { alternate, firstSnapshot, MEMORY_MIB, MIB, type Bench, type Measurement } from './bench.ts';

const FLAT = 1.15;

/** Peak memory of the process that moves the data, for a first snapshot of few users and of ten times as many. */
export const memory: Measurement = {
  figures: ['memory', 'memory-large'],
  async measure(bench: Bench): Promise<Figure[]> {
    const { base, large } = bench.sizes;
    const peaks = await firsts(bench, [base, large], ({ peakBytes }) => peakBytes / MIB);
    const [few = [], many = []] = peaks;
    return [
      makeFigure({
        figure: 'memory',
        unit: 'MiB',
        ours: few,
        theirs: [],
        goal: below(MEMORY_MIB, 'MiB'),
        note: `peak resident memory of a first snapshot of ${base.users} users`,
      }),
      makeFigure({
        figure: 'memory-large',
        unit: 'MiB',
        ours: many,
        theirs: few,
        goal: {
          text: `< ${MEMORY_MIB} MiB, ratio <= ${FLAT}`,
          met: (ours, ratio) => ours < MEMORY_MIB && ratio !== null && ratio <= FLAT,
        },
        note: `of ${large.users} users with ${large.contacts} contacts each; "theirs" is our own of ${base.users}`,
      }),
    ];
  },
};

/** What a user costs where there are few and where there are many, each with the same number of contacts. */
export const cost: Measurement = {
  figures: ['cost-per-user', 'first-snapshot-small'],
  async measure(bench: Bench): Promise<Figure[]> {
    const { small, from, to } = bench.sizes;
    const [tiny = [], few = [], many = []] = await firsts(bench, [small, from, to], ({ ms }) => ms);
    await bench.populations.drop(await bench.populations.of(to)); // The largest; nothing after this needs it.
    const each = (samples: number[], { users }: Size): number[] => samples.map((ms) => (ms * 1000) / users);
    return [
      makeFigure({
        figure: 'cost-per-user',
        unit: 'µs',
        ours: each(many, to),
        theirs: each(few, from),
        goal: { text: `ratio <= ${FLAT}`, met: (_, ratio) => ratio !== null && ratio <= FLAT },
        note: `a first snapshot of ${to.users} users with ${to.contacts} contacts; "theirs" is our own of ${from.users}`,
      }),
      makeFigure({
        figure: 'first-snapshot-small',
        unit: 's',
        ours: tiny.map((ms) => ms / 1000),
        theirs: [],
        goal: below(0.5, 's'),
        note: `${small.users} users with ${small.contacts} contacts each`,
      }),
    ];
  },
};

/** First snapshots of several sizes in turn. */
async function firsts(
  bench: Bench,
  sizes: Size[],
  sample: (taken: { ms: number; peakBytes: number }) => number,
): Promise<number[][]> {
  const samples: number[][] = sizes.map(() => []);
  for (const size of sizes) await bench.populations.of(size);
  await alternate(
    bench.runs,
    sizes.map((size, n) => async (): Promise<void> => {
      const taken = await firstSnapshot(bench, await bench.populations.of(size));
      samples[n]?.push(sample(taken));
      bench.say(`first of ${size.users}: ${Math.round(taken.ms)} ms, peak ${Math.round(taken.peakBytes / MIB)} MiB`);
    }),
  );
  return samples;
}
