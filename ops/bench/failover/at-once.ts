import { failureText } from '../../../workflows/model/failures.ts';
import { Fault } from '../../fault.ts';
import { makeFigure, ratioAtMost, type Figure } from '../report.ts';
import { seconds, type FailoverBench, type FailoverMeasurement } from './bench.ts';
import { failOver, held, instant } from './course.ts';

/** Users in the lost half of each: small, so that a hundred fit on one machine. */
const USERS = 20;
const HELD = 'held';
/** What many at once may take more than as many one after the other: noise of the machine. */
const NOISE = 1.1;

const nameOf = (i: number): string => `customer-${i}`;

/** Many customers who fail over at once on one survivor, and some beside one that waits for an operator. */
export const atOnce: FailoverMeasurement = {
  figures: ['at-once-instant', 'at-once-instant-10', 'at-once-real', 'at-once-real-10', 'beside-held'],
  async measure(bench: FailoverBench): Promise<Figure[]> {
    const { ground, say } = bench;
    const most = bench.atOnce;
    const some = Math.max(1, Math.round(most / 10));
    for (let i = 0; i < most; i += 1) await ground.protect(nameOf(i), { users: USERS });
    await ground.protect(HELD, { users: USERS });
    say(`${most + 1} customers of ${USERS} users are covered`);
    const times = await ground.working(
      (real) => instant(real),
      () => waves(bench, 'instant', [1, some, most]),
    );
    const real = await ground.working(
      (acts) => acts,
      () => waves(bench, 'real', [1, some, most]),
    );
    const beside = await ground.working(
      (acts) => instant(acts, (customer) => customer === HELD),
      () => besideHeld(bench, some),
    );
    return [
      linear('at-once-instant-10', times, 1, `${some} customers, instant acts, against ${some} times one`),
      linear('at-once-instant', times, 2, `${most} customers, instant acts, against ${most} times one`),
      linear('at-once-real-10', real, 1, `${some} customers, real acts, against ${some} times one`),
      linear('at-once-real', real, 2, `${most} customers, real acts, against ${most} times one`),
      makeFigure({
        figure: 'beside-held',
        unit: 's',
        ours: beside,
        theirs: times[1]?.samples ?? [],
        goal: ratioAtMost(1.2),
        note: `${some} customers beside one whose step is held, against ${some} without`,
      }),
    ];
  },
};

interface Wave {
  customers: number;
  /** s. */
  samples: number[];
}

/** A figure of one wave against the line through the first, of one customer. */
function linear(figure: string, sizes: readonly Wave[], of: number, note: string): Figure {
  const [small, large] = [sizes[0], sizes[of]];
  const factor = large?.customers ?? 1;
  return makeFigure({
    figure,
    unit: 's',
    ours: large?.samples ?? [],
    theirs: (small?.samples ?? []).map((s) => s * factor),
    goal: ratioAtMost(NOISE),
    note,
  });
}

async function waves(bench: FailoverBench, what: string, sizes: readonly number[]): Promise<Wave[]> {
  const found: Wave[] = [];
  for (const customers of sizes) {
    const samples: number[] = [];
    for (let run = 1; run <= bench.runs; run += 1) samples.push(await wave(bench, customers));
    bench.say(`${customers} at once, ${what}: ${samples.map((s) => s.toFixed(2)).join(', ')} s`);
    found.push({ customers, samples });
  }
  return found;
}

/** From the first declaration to the last end, s. */
async function wave({ ground }: FailoverBench, customers: number): Promise<number> {
  const begun = performance.now();
  // All of them, also when one fails: nobody closes the ground under the others.
  const ends = await Promise.allSettled(
    Array.from({ length: customers }, (_, i) => failOver(ground, nameOf(i), customers)),
  );
  const took = seconds(performance.now() - begun);
  const failed = ends.filter((end) => end.status === 'rejected');
  if (failed.length > 0)
    throw new Fault(
      `bench: ${failed.length} of ${customers} failovers at once failed: ${failureText(failed[0]?.reason)}`,
      'Its report tells why.',
    );
  return took;
}

async function besideHeld(bench: FailoverBench, customers: number): Promise<number[]> {
  const { ground, runs, say } = bench;
  const waiting = await held(ground, HELD);
  const samples: number[] = [];
  for (let run = 1; run <= runs; run += 1) samples.push(await wave(bench, customers));
  say(`${customers} beside a held one: ${samples.map((s) => s.toFixed(2)).join(', ')} s`);
  await waiting.terminate('the measurement is over');
  return samples;
}
