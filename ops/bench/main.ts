import { InvalidArgumentError, type Command } from 'commander';
import { wholeNumber, type Context } from '../cli/print.ts';
import { benchFailover, failoverFigures } from './failover/run.ts';
import { markdown, type Figure } from './report.ts';
import { benchService } from './service/bench.ts';
import { benchHome } from './service/home.ts';
import { untilStopped } from './stopped.ts';
import { benchVault, figureNames } from './vault.ts';

/** `tandem bench`: measures what README claims, against what a user would take instead. */
export function register(program: Command, { out, signal, json }: Context): void {
  const heard = (): { say: (line: string) => void; tell: (figure: Figure) => void; signal: AbortSignal } => {
    const started = Date.now();
    return {
      // Progress goes to stderr also with --json: minutes pass between two figures.
      say: (line) => process.stderr.write(`${Math.round((Date.now() - started) / 1000)} s  ${line}\n`),
      tell: (figure) => json() && out.answer(figure, ''),
      signal,
    };
  };
  const show = ({ figures, conditions }: { figures: Figure[]; conditions: string[] }): void => {
    if (!json()) out.answer(figures, markdown(figures, conditions));
  };
  const group = program.command('bench').description('measurements against the tools that a user would take instead');
  group
    .command('vault')
    .description('snapshots and restores against pg_dump, pg_restore, COPY and restic, on the same data')
    .option('--users <n>', 'how many users; other sizes follow from it', wholeNumber, 20_000)
    .option('--runs <n>', 'how often each side does its work', positive, 5)
    .option('--chain <n>', 'how many snapshots the chain has', positive, 90)
    .option('--only <figures>', `some of ${figureNames.join(', ')}`, (text: string) => text.split(','), [])
    .option('--no-install', 'install nothing; figures whose tools are missing stay open')
    .option('--json', 'one JSON object per figure')
    .action(async (o: { users: number; runs: number; chain: number; only: string[]; install: boolean }) => {
      show(await untilStopped(signal, () => benchVault({ ...o, ...heard() })));
    });
  group
    .command('failover')
    .description('failovers with instant and with real acts: one large customer, and many at once')
    .option('--users <n>', 'how many users the lost half of the large customer has', wholeNumber, 20_000)
    .option('--runs <n>', 'how often each failover is made', positive, 5)
    .option('--at-once <n>', 'most customers that fail over at once', positive, 100)
    .option('--only <figures>', `some of ${failoverFigures.join(', ')}`, (text: string) => text.split(','), [])
    .option('--json', 'one JSON object per figure')
    .action(async (o: { users: number; runs: number; atOnce: number; only: string[] }) => {
      show(await untilStopped(signal, () => benchFailover({ ...o, ...heard() })));
    });
  group
    .command('service')
    .description('what users of the reference service notice of a failover: sign-ins, messages')
    .option('--users <n>', 'how many users the lost half has', wholeNumber, 1000)
    .option('--large <n>', 'how many it has in one more run', wholeNumber, 20_000)
    .option('--no-large', 'leave that run out')
    .option('--runs <n>', 'how often each failover is made', positive, 3)
    .option('--storm <n>', 'how many of the lost users come at the same moment; 0 leaves it out', wholeNumber, 300)
    .option('--json', 'one JSON object per figure')
    .action(async (o: { users: number; large: number | false; runs: number; storm: number }) =>
      show(await untilStopped(signal, () => benchService({ ...o, ...heard() }))),
    );
  group
    .command('home')
    .description('the way home: a failback of users of whom some have changed at either site')
    .option('--users <n>', 'how many users each half has', wholeNumber, 20_000)
    .option('--runs <n>', 'how often it is done', positive, 1)
    .option('--json', 'one JSON object per figure')
    .action(async (o: { users: number; runs: number }) =>
      show(await untilStopped(signal, () => benchHome({ ...o, ...heard() }))),
    );
}

function positive(text: string): number {
  const n = Number(text);
  if (!Number.isInteger(n) || n < 1 || n > 1000)
    throw new InvalidArgumentError('a whole number from 1 to 1000 is allowed.');
  return n;
}
