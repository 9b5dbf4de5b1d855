import { changeOnePercent } from '../data.ts';
import { makeFigure, type Figure } from '../report.ts';
import { firstSnapshot, MIB, withVault, type Bench, type Measurement } from './bench.ts';

/** What a long row of small changes leaves: bytes that a whole restore reads, and bytes that are stored. Once: no times. */
export const chain: Measurement = {
  figures: ['chain-90', 'chain-90-stored'],
  async measure(bench: Bench): Promise<Figure[]> {
    const people = await bench.populations.of(bench.sizes.base);
    const { ours, say } = bench;
    return withVault(bench, async (vault) => {
      await ours.forget(people.url);
      let taken = await ours.snapshot(people.url, vault);
      let stored = taken.bytesPut;
      for (let round = 1; round <= bench.chain; round += 1) {
        await changeOnePercent(people);
        taken = await ours.snapshot(people.url, vault, 'changes');
        stored += taken.bytesPut;
        if (round % 10 === 0) say(`chain ${round}: ${Math.round(stored / MIB)} MiB stored`);
      }
      const { bytesRead } = await ours.restore(await bench.populations.empty('restored'), vault, taken.id, 'empty');
      const fresh = await firstSnapshot(bench, people);
      const common = { unit: 'MiB', goal: null, theirs: [fresh.bytesPut / MIB] };
      const after = `${people.users} users, after ${bench.chain} snapshots of 1 % changes`;
      return [
        makeFigure({
          ...common,
          figure: 'chain-90',
          ours: [bytesRead / MIB],
          note: `${after}: read by a full restore; "theirs" is a fresh first snapshot`,
        }),
        makeFigure({
          ...common,
          figure: 'chain-90-stored',
          ours: [stored / MIB],
          note: `${after}: stored in all; "theirs" is a fresh first snapshot`,
        }),
      ];
    });
  },
};
