import { Client } from 'pg';
import { below, makeFigure, type Figure } from '../report.ts';
import { seconds, type FailoverBench, type FailoverMeasurement } from './bench.ts';
import { failOver, instant, type Course } from './course.ts';
import { SOURCE } from './ground.ts';

const LARGE = 'large';
const KIB = 1024;

/** The shares of users whose standby copy no longer is what the snapshot says, in percent. */
const STALE = [0, 1, 100] as const;

/**
 * The shipped runbook for one large customer: with all acts made instant, which leaves the orchestration, and with the
 * real ones, on a standby copy that is fresh and on one that is not.
 */
export const served: FailoverMeasurement = {
  figures: [
    'instant',
    'orchestration',
    'history-events',
    'history-size',
    'served-fresh',
    'served-1pct',
    'served-100pct',
  ],
  async measure(bench: FailoverBench): Promise<Figure[]> {
    const { ground, users, runs, say } = bench;
    await ground.protect(LARGE, { users, contacts: 100 });
    say(`${LARGE}: ${users} users with 100 contacts each are covered`);
    const bare = await ground.working(
      (real) => instant(real),
      () => repeat(bench, 'instant', () => Promise.resolve()),
    );
    const real = await ground.working(
      (acts) => acts,
      async () => {
        const all: Course[][] = [];
        for (const share of STALE)
          all.push(await repeat(bench, `stale ${share} %`, () => spoil(ground.database(LARGE), share)));
        return all;
      },
    );
    const [fresh = [], some = [], whole = []] = real;
    const what = `${users} users of a lost site, from the second approval to the commit that serves them`;
    const figure = (name: string, courses: readonly Course[], note: string): Figure =>
      makeFigure({
        figure: name,
        unit: 's',
        ours: courses.map(({ servedMs }) => seconds(servedMs)),
        theirs: [],
        goal: name === 'served-100pct' ? null : below(60, 's'),
        note: `${what}; ${note}`,
      });
    return [
      ...orchestration(bare, fresh, runs),
      figure('served-fresh', fresh, 'the standby copy is fresh'),
      figure('served-1pct', some, '1 % of them differ from the snapshot'),
      figure('served-100pct', whole, 'all of them differ from the snapshot'),
    ];
  },
};

function orchestration(bare: readonly Course[], real: readonly Course[], runs: number): Figure[] {
  const whole = bare.map(({ wholeMs }) => seconds(wholeMs));
  const share = bare.slice(0, runs).map(({ closedMs }, i) => (100 * closedMs) / (real[i]?.closedMs ?? closedMs));
  return [
    makeFigure({
      figure: 'instant',
      unit: 's',
      ours: whole,
      theirs: [],
      goal: below(1.5, 's'),
      note: 'the shipped runbook with all acts made instant, from the declaration to the end',
    }),
    makeFigure({
      figure: 'orchestration',
      unit: '%',
      ours: share,
      theirs: [],
      goal: below(10, '%'),
      note: 'of a real failover from the second approval to the end: the time that is left when all acts are instant',
    }),
    makeFigure({
      figure: 'history-events',
      unit: 'events',
      ours: real.map(({ history }) => history.events),
      theirs: [],
      goal: below(500, 'events'),
      note: 'in the history of one real failover',
    }),
    makeFigure({
      figure: 'history-size',
      unit: 'KiB',
      ours: real.map(({ history }) => history.bytes / KIB),
      theirs: [],
      goal: below(150, 'KiB'),
      note: 'the history of one real failover, as Temporal counts it',
    }),
  ];
}

async function repeat(
  { ground, runs, say }: FailoverBench,
  what: string,
  before: () => Promise<void>,
): Promise<Course[]> {
  const courses: Course[] = [];
  for (let run = 1; run <= runs; run += 1) {
    await before();
    const course = await failOver(ground, LARGE);
    say(`${what}, ${run}: ${Math.round(course.wholeMs)} ms in all, served after ${Math.round(course.servedMs)} ms`);
    courses.push(course);
  }
  return courses;
}

/** Changes a row of so many percent of the moved users behind the ledger's back. */
async function spoil(url: string, percent: number): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(
      `update rosterusers r set nick = r.nick || '~' where (username, jid) in (
         select username, min(jid) from rosterusers where username in (
           select username from tandem.home where site = $1 order by username
            limit (select ceil(count(*) * $2 / 100.0) from tandem.home where site = $1)) group by 1)`,
      [SOURCE, percent],
    );
    await client.query('analyze rosterusers');
  } finally {
    await client.end();
  }
}
