import { optionsOf } from '../rig/options.ts';
import { runbookWalks, walkRunbook, type Tally } from './failover/main.ts';
import { jobs } from './jobs.ts';
import { liveWalks, walkLive } from './live/main.ts';
import { walkJobs } from './mover.ts';
import { PARTITIONS, walkPartitions } from './partitions/main.ts';
import { plannedWalks, walkPlanned } from './relocate/main.ts';
import { walkWeek } from './week.ts';

const names = [...jobs.map(({ name }) => name), ...runbookWalks, ...plannedWalks, PARTITIONS, ...liveWalks, 'week'];

const HELP = `Ends with -9 what moves people's data, on real servers, at every point of its course: the same end, each effect once.

  jobs of the data mover   at every S3 request and every database message
  failover                 the worker, then Temporal, then Temporal's databases dropped, at every line of the journal of
                           the shipped runbook; and attempts of an older move that wake up late
  service                  the same where ejabberd serves users, at what the runbook does there beside it
  relocate                 a planned move between two sites that are there: the worker, Temporal, its databases and
                           PostgreSQL where the users are, at every line of the journal; and what the move does in the
                           destination's database, with the worker, the destination's worker and its PostgreSQL
  failback                 the same of the way home, at what it alone does
  cohort, cohort-rest      a cohort goes first, then the rest of its half: at what hands them over
  partitions               two whole sites part while users are moved, planned or not: lines to the peer, its parts, the
                           witness and the own vault are dropped or refused, processes stand still, a site comes back in
                           the middle, later and twice, both control rooms act at once, both sites start in the dark;
                           users write all the time, and what ejabberd asks is looked at all the time at both sites
  week                     no kill: a week of changes at both sites, of many people, then home by each rule
  live                     a live test of a cohort, aborted at every line of the journals of its two moves and between them, by
                           people who type what is printed after \`Next:\`: everybody is home, nothing is left, the due date stays

  npm run walk                                 all of it, some hours
  npm run walk -- --only snapshot,failover     what begins like this: ${names.join(', ')}
  npm run walk -- --from 120                   jobs: from the 120th call of each kind on; week: the seed
  npm run walk -- --lanes 4                    jobs: how many worlds side by side (default 3)
  npm run walk -- --point restore/database/17/after
  npm run walk -- --point failover/effect-serve/temporal/after
  npm run walk -- --point relocate/slot,relocate/effect-serve   relocate, failback, cohort, partitions, live: all that begin like this
`;

const values = optionsOf('walk', {
  options: {
    only: { type: 'string', default: '' },
    from: { type: 'string', default: '1' },
    lanes: { type: 'string', default: '3' },
    point: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

const say = (line: string): void => void process.stdout.write(`${line}\n`);

async function main(): Promise<boolean> {
  const { point, from, lanes } = values;
  const only = (point?.split('/')[0] ?? values.only).split(',');
  const chosen = (name: string): boolean => only.some((part) => name.startsWith(part));
  const tallies: Tally[] = [];
  const walked = jobs.filter(({ name }) => chosen(name));
  if (walked.length > 0) tallies.push(await walkJobs(walked, { point, from: Number(from), lanes: Number(lanes), say }));
  for (const walk of runbookWalks) if (chosen(walk)) tallies.push(await walkRunbook({ walk, point, say }));
  if (liveWalks.some(chosen)) tallies.push(await walkLive({ point, say }));
  for (const way of plannedWalks) if (chosen(way)) tallies.push(await walkPlanned({ way, point, say }));
  if (chosen(PARTITIONS)) tallies.push(await walkPartitions({ point, say }));
  if (chosen('week')) tallies.push(await walkWeek({ say, ...(from !== '1' && { seed: Number(from) }) }));
  const passed = tallies.reduce((sum, t) => sum + t.passed, 0);
  const failed = tallies.reduce((sum, t) => sum + t.failed, 0);
  if (passed + failed === 0) say('There is no such point: `npm run walk -- --help` names what there is.');
  say(`${passed} passed, ${failed} failed`);
  return failed === 0 && passed > 0;
}

if (values.help) say(HELP);
else process.exitCode = (await main()) ? 0 : 1;
