import { changeOnePercent, extentOf } from '../data.ts';
import { Fault } from '../../fault.ts';
import { below, makeFigure, ratioAtMost, type Figure } from '../report.ts';
import { alternate, keep, MEMORY_MIB, MIB, withVault, type Bench, type Measurement } from './bench.ts';

const LIMIT_S = 3;

/**
 * Restores of one snapshot, whole and of what differs, against pg_restore of a dump of the same tables. Every whole one
 * goes into a new database. Warm: the dump, the vault's files and the tables from which both were made.
 */
export const restore: Measurement = {
  figures: ['full-restore', 'full-restore-live', 'restore-1pct', 'memory-restore'],
  async measure(bench: Bench): Promise<Figure[]> {
    const ms = await withVault(bench, (vault) => restores(bench, vault));
    const seconds = (samples: number[]): number[] => samples.map((sample) => sample / 1000);
    const { users } = bench.sizes.base;
    const common = { unit: 's', theirs: seconds(ms.theirs) };
    return [
      makeFigure({
        ...common,
        figure: 'full-restore',
        ours: seconds(ms.empty),
        goal: ratioAtMost(1),
        note: `${users} users into an empty database, indexes included; against pg_restore -j2 of an -Fc dump`,
      }),
      makeFigure({
        ...common,
        figure: 'full-restore-live',
        ours: seconds(ms.live),
        goal: null,
        note: `${users} users into a site's tables with their indexes; against pg_restore -j2 into an empty database`,
      }),
      makeFigure({
        ...common,
        figure: 'restore-1pct',
        ours: seconds(ms.some),
        goal: {
          text: `ratio <= 0.6 and < ${LIMIT_S} s`,
          met: (ours, ratio) => (ours >= LIMIT_S ? false : ratio === null ? null : ratio <= 0.6),
        },
        note: `1 % of ${users} users differ and are found and replaced; against pg_restore -j2 of all`,
      }),
      makeFigure({
        figure: 'memory-restore',
        unit: 'MiB',
        ours: [Math.max(...ms.peakMib)],
        theirs: [],
        goal: below(MEMORY_MIB, 'MiB'),
        note: `highest peak of resident memory of all these restores of ${users} users`,
      }),
    ];
  },
};

type Works = Record<'empty' | 'live' | 'some' | 'theirs' | 'peakMib', number[]>;

async function restores(bench: Bench, vault: Parameters<Bench['ours']['restore']>[1]): Promise<Works> {
  const people = await bench.populations.of(bench.sizes.base);
  const { ours, theirs, populations, say } = bench;
  const ms: Works = { empty: [], live: [], some: [], theirs: [], peakMib: [] };
  await ours.forget(people.url);
  const { id } = await ours.snapshot(people.url, vault);
  const dump = await theirs.dump(people.url, 'default');
  const whole = await extentOf(people.url);
  // Once, unmeasured: so that the first round's users differ by its changes alone.
  await ours.restore(people.url, vault, id, 'live');
  const measured = async (kind: 'empty' | 'live' | 'some', url: string, expected: number): Promise<void> => {
    const done = await ours.restore(url, vault, id, kind === 'empty' ? 'empty' : 'live');
    const left = await extentOf(url);
    if (done.written !== expected || left.rows !== whole.rows || left.indexes < whole.indexes)
      throw new Fault(
        `restore, ${kind}: ${done.written} users written, ${left.rows} rows and ${left.indexes} indexes stand there; expected were ${expected}, ${whole.rows} and ${whole.indexes}`,
        'A restore that leaves something out has no time to be told.',
      );
    ms[kind].push(done.ms);
    ms.peakMib.push(done.peakBytes / MIB);
    say(`restore, ${kind}: ${Math.round(done.ms)} ms, ${done.written} users written`);
  };
  await alternate(bench.runs, [
    async () => measured('empty', await populations.empty('restored'), people.users),
    async () => {
      if (dump) keep(ms.theirs, await theirs.restore(await populations.empty('restored'), dump.file));
    },
    async () => measured('some', people.url, await changeOnePercent(people)),
    async () => measured('live', await populations.live('restored', people), people.users),
  ]);
  return ms;
}
