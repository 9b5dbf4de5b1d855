import { changeOnePercent, type Size } from '../data.ts';
import { below, makeFigure, ratioAtMost, type Figure } from '../report.ts';
import { alternate, keep, withVault, type Bench, type Measurement } from './bench.ts';

interface Samples {
  users: number;
  percent: number[];
  theirPercent: number[];
  ms: number[];
  copyMs: number[];
}

/**
 * Snapshots after one user in a hundred has changed something. Warm: all tables have been read once after each change.
 */
export const delta: Measurement = {
  figures: ['upload-1pct', 'snapshot-1pct-time'],
  async measure(bench: Bench): Promise<Figure[]> {
    const samples = await changes(bench, bench.sizes.base);
    return [
      upload('upload-1pct', samples),
      makeFigure({
        figure: 'snapshot-1pct-time',
        unit: 's',
        ours: samples.ms.map((ms) => ms / 1000),
        theirs: samples.copyMs.map((ms) => ms / 1000),
        goal: ratioAtMost(0.5),
        note: `${samples.users} users; against one sorted COPY of the same tables to /dev/null`,
      }),
    ];
  },
};

/** The same where there are ten times the users. */
export const deltaLarge: Measurement = {
  figures: ['upload-1pct-large'],
  measure: async (bench) => [upload('upload-1pct-large', await changes(bench, bench.sizes.large))],
};

const upload = (figure: string, { users, percent, theirPercent }: Samples): Figure =>
  makeFigure({
    figure,
    unit: '%',
    ours: percent,
    theirs: theirPercent,
    goal: below(1.3, '%'),
    note: `${users} users; bytes that 1 % of changed users add, of the first’s; against restic of a plain pg_dump`,
  });

async function changes(bench: Bench, size: Size): Promise<Samples> {
  const people = await bench.populations.of(size);
  const { url } = people;
  const samples: Samples = { users: size.users, percent: [], theirPercent: [], ms: [], copyMs: [] };
  const repository = await bench.theirs.repository();
  try {
    await withVault(bench, async (vault) => {
      await bench.ours.forget(url);
      const whole = (await bench.ours.snapshot(url, vault)).bytesPut;
      const theirWhole = await repository?.backup(url);
      const snapshot = async (round: number): Promise<void> => {
        const { ms, bytesPut } = await bench.ours.snapshot(url, vault, 'changes');
        samples.ms.push(ms);
        samples.percent.push((bytesPut / whole) * 100);
        bench.say(`upload-1pct of ${size.users}, ${round}: ${Math.round(ms)} ms, ${bytesPut} of ${whole} bytes`);
      };
      const copy = async (): Promise<void> => keep(samples.copyMs, await bench.theirs.sortedCopy(url));
      const backup = async (): Promise<void> => {
        if (repository && theirWhole) samples.theirPercent.push(((await repository.backup(url)) / theirWhole) * 100);
      };
      await alternate(bench.runs, [snapshot, copy, backup], () => changeOnePercent(people));
    });
  } finally {
    await repository?.drop();
  }
  return samples;
}
