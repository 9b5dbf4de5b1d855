import { availableParallelism } from 'node:os';
import { makeFigure, ratioAtLeast, type Figure } from '../report.ts';
import { alternate, firstSnapshot, keep, type Bench, type Measurement } from './bench.ts';

/**
 * A first snapshot, encrypted, read back and in the vault, against pg_dump to a file. Warm for all: PostgreSQL's buffers
 * and the file system's, as far as the tables fit; each reads everything once before the clock starts.
 */
export const first: Measurement = {
  figures: ['first-snapshot', 'first-snapshot-z1'],
  async measure(bench: Bench): Promise<Figure[]> {
    const people = await bench.populations.of(bench.sizes.base);
    await bench.theirs.sortedCopy(people.url);
    const rate = (ms: number): number => (people.rows / ms) * 1000;
    const ours: number[] = [];
    const theirs: Record<'default' | 1, number[]> = { default: [], 1: [] };
    const dump = (level: 'default' | 1) => async (): Promise<void> => {
      const done = await bench.theirs.dump(people.url, level);
      keep(theirs[level], done && rate(done.ms));
      if (done) bench.say(`pg_dump, level ${level}: ${Math.round(done.ms)} ms, ${done.bytes} bytes`);
    };
    await alternate(bench.runs, [
      async (round) => {
        const { ms, bytesPut } = await firstSnapshot(bench, people);
        ours.push(rate(ms));
        bench.say(`first-snapshot ${round}: ${Math.round(ms)} ms, ${bytesPut} bytes`);
      },
      dump('default'),
      dump(1),
    ]);
    const common = { unit: 'rows/s', ours };
    const what = `${people.users} users, ${people.rows} rows; into S3`;
    return [
      makeFigure({
        ...common,
        figure: 'first-snapshot',
        theirs: theirs.default,
        goal: ratioAtLeast(availableParallelism() >= 4 ? 2 : 1.25),
        note: `${what}, against pg_dump -Fc to a file`,
      }),
      makeFigure({
        ...common,
        figure: 'first-snapshot-z1',
        theirs: theirs[1],
        goal: null,
        note: `${what}, against pg_dump -Fc -Z1 to a file`,
      }),
    ];
  },
};
