import { createServer, type AddressInfo, type Socket } from 'node:net';
import { makeFigure, ratioAtMost, type Figure } from '../report.ts';
import { seconds, type FailoverBench, type FailoverMeasurement } from './bench.ts';
import { failOver, type Course } from './course.ts';

const CUSTOMER = 'hung';
const MOST_USERS = 1000;
/** What the machine's own noise may add to steps that take a second. */
const NOISE = 1.2;
/** Steps that look at the lost site or close it: they wait for it as long as their own limits say, and no longer. */
const LOOKING = ['epoch', 'fence'];

/** The same failover twice: every address of the lost site refuses at once, or takes connections and never answers. */
export const hung: FailoverMeasurement = {
  figures: ['hung-source', 'hung-steps'],
  async measure({ ground, users: large, runs, say }: FailoverBench): Promise<Figure[]> {
    const users = Math.min(MOST_USERS, large);
    await ground.protect(CUSTOMER, { users });
    const hole = await blackHole();
    try {
      const real = <T>(acts: T): T => acts;
      const refused = await ground.working(real, () => repeat(() => failOver(ground, CUSTOMER), runs));
      const hanging = await ground.working(real, () => repeat(() => failOver(ground, CUSTOMER), runs), hole.port);
      for (const [what, courses] of Object.entries({ refused, hanging })) say(`${what}: ${stepTimes(courses)}`);
      return [
        makeFigure({
          figure: 'hung-source',
          unit: 's',
          ours: hanging.map(({ servedMs }) => seconds(servedMs)),
          theirs: refused.map(({ servedMs }) => seconds(servedMs)),
          goal: null,
          note: `${users} users served after the second approval: every address of the lost site hangs, against refuses`,
        }),
        makeFigure({
          figure: 'hung-steps',
          unit: 's',
          ours: hanging.map(restMs).map(seconds),
          theirs: refused.map(restMs).map(seconds),
          goal: ratioAtMost(NOISE),
          note: `the same, all steps but ${LOOKING.join(' and ')}, which wait for the lost site up to their limits`,
        }),
      ];
    } finally {
      hole.close();
    }
  },
};

async function repeat(work: () => Promise<Course>, runs: number): Promise<Course[]> {
  const courses: Course[] = [];
  for (let run = 1; run <= runs; run += 1) courses.push(await work());
  return courses;
}

const restMs = ({ report: { steps } }: Course): number =>
  steps.filter(({ id }) => !LOOKING.includes(id)).reduce((sum, { tookMs = 0 }) => sum + tookMs, 0);

/** Of the first run of each. */
const stepTimes = ([first]: readonly Course[]): string =>
  (first?.report.steps ?? []).map(({ id, tookMs = 0 }) => `${id} ${tookMs} ms`).join(', ');

/** Takes connections and never says a word. */
async function blackHole(): Promise<{ port: number; close: () => void }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined); // Whoever gave up.
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
