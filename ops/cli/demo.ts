import { join } from 'node:path';
import type { Command } from 'commander';
import { duration } from '../../workflows/model/rto.ts';
import type { Facts, Stage } from '../embedded/demo/scene.ts';
import { tellStory, type DemoReport } from '../embedded/demo/story.ts';
import { down, reset } from '../embedded/control.ts';
import { exits, wholeNumber, type Context } from './print.ts';

/** The stages in words; what is measured follows each. */
const words: Record<Stage, string> = {
  setup: 'A fresh stack is set up',
  'sites-up': 'Two sites are up: PostgreSQL, Temporal, its UI, a vault and a worker each',
  'users-created': 'Users live at both sites, half of them at each',
  covered: 'Each site has a verified copy of the other’s contacts and ACLs',
  changed: 'Some users of east edit their contacts: these changes no snapshot has',
  'site-lost': 'Site east is lost: every process killed, every port closed',
  declared: 'An operator declares it; west makes a plan',
  approved: 'Two operators have signed the plan',
  fenced: 'A newer epoch keeps east from serving again',
  restored: 'West holds the contacts and ACLs of the lost half as of the recovery point',
  serving: 'West serves everybody',
  'signed-in-again': 'A user of the lost half is signed in again, at west',
  verified: 'Every row was compared with the snapshot',
  closed: 'The failover is closed; its evidence is sealed in the vault',
  services: 'Every promised service was looked at by real clients, as its users find it',
  'test-passed': 'A continuity test restored the same snapshot from nothing, and it was equal',
  'changed-since': 'Users of both halves edit their contacts at west, which alone has them now',
  returned: 'Site east comes back with rows that say that it serves: it obeys the newer epoch, and serves nobody',
  salvaged: 'What its users had changed there, and no snapshot has, lies in its vault',
  'peer-again': 'West’s users have a verified copy at east again, of both halves, equal row by row',
  'failed-back':
    'Users of east are home again, with what both sites had; nobody differs but those whom the report names',
};

export function register(program: Command, context: Context): void {
  program
    .command('demo')
    .description('the whole story on real servers; ends in 0 only if nothing that was covered is lost')
    .option('--users <n>', 'how many users, half at each site', wholeNumber, 500)
    .option('--seed <text>', 'the same seed makes the same users', 'tandem')
    .option('--keep', 'leave the stack running, to look at it in Temporal UI')
    .option('--json', 'one JSON object per line')
    .action(async (o: { users: number; seed: string; keep?: boolean }) => {
      const folder = process.env['TANDEM_STATE'] ?? join(process.cwd(), '.tandem', 'demo');
      const started = Date.now();
      const { out } = context;
      const tell = (stage: Stage, facts: Facts): void => {
        const atMs = Date.now() - started;
        const detail = Object.entries(facts).map(factText).join(', ');
        out.answer(
          { stage, atMs, ...facts },
          `${(atMs / 1000).toFixed(1).padStart(6)} s  ${words[stage]}\n          ${detail}`,
        );
      };
      try {
        await reset(folder);
        const report = await tellStory({
          folder,
          users: o.users,
          seed: o.seed,
          tell,
          say: () => undefined,
          signal: context.signal,
        });
        // Without --keep nobody answers there any more when this is read.
        out.answer({ ...report, temporalUi: o.keep ? report.temporalUi : null }, summary(report, o.keep ?? false));
        process.exitCode = report.mismatches === 0 ? exits.done : exits.failed;
      } finally {
        if (o.keep) out.say(`Left running. Stop it with: TANDEM_STATE=${folder} npm run tandem -- dev down`);
        else await down(folder);
      }
    });
}

const factText = ([name, value]: [string, Facts[string]]): string =>
  typeof value === 'object'
    ? value.map(({ service, ok, ms }) => `${service} ${ok ? `${ms} ms` : 'NOT SEEN'}`).join(', ')
    : `${name} ${value}`;

function summary(r: DemoReport, kept: boolean): string[] {
  return [
    '',
    `${r.usersRestored} of ${r.users} users were moved, with ${r.contactsRestored} contacts and ${r.aclItemsRestored} ACL items; ${r.mismatches} rows differ from the snapshot.`,
    `Recovery point ${duration(r.recoveryPointAgeMs)} before the loss (promise: 8 h). Served and verified ${duration(r.rtoMs)} after it (promise: 24 h).`,
    `Report: ${r.reportPath}`,
    kept ? `Temporal UI: ${r.temporalUi}` : 'To look at it in Temporal UI, run it again with --keep.',
  ];
}
