import type { Command } from 'commander';
import type { ContinuityTestResult } from '../../workflows/continuity-test.ts';
import { duration } from '../../workflows/model/rto.ts';
import { startTest } from '../tests.ts';
import type { Context } from './print.ts';
import { customerOf, openConfiguration, siteOf } from './site.ts';
import { Fault } from '../fault.ts';

export function register(program: Command, context: Context): void {
  const group = program.command('test').description('continuity tests: the yearly proof that a failover would work');
  group
    .command('start')
    .description('restore the newest covered snapshot of the peer into a scratch database and compare it')
    .requiredOption('--site <site>', 'the site that would survive')
    .option('--customer <id>', 'needed when there is more than one')
    .option('--kind <kind>', 'isolated: nothing that users see is touched', 'isolated')
    .action(async (o: { site: string; customer?: string; kind: string }) => {
      if (o.kind !== 'isolated')
        throw new Fault(`--kind ${o.kind}: only isolated tests are known`, 'Leave it out, or say --kind isolated.');
      const configuration = await openConfiguration(context);
      const customer = customerOf(configuration, o.customer);
      const client = await siteOf(configuration, o.site).client();
      try {
        context.out.say(`Continuity test of ${customer.id} at ${o.site} …`);
        tell(context, await startTest(client, o.site, customer.id));
      } finally {
        await client.connection.close();
      }
    });
}

function tell({ out }: Context, result: ContinuityTestResult): void {
  if (!result.held) {
    out.answer(result, `Not held: ${result.because}`);
    return;
  }
  const { receipt } = result;
  const took = duration(Date.parse(receipt.endedAt) - Date.parse(receipt.startedAt));
  out.answer(result, [
    `${receipt.outcome}: snapshot ${receipt.snapshot.seq} of ${receipt.snapshot.site}, recovery point ${receipt.point}`,
    `  ${receipt.counts.users} users, ${receipt.counts.contacts} contacts, ${receipt.counts.aclItems} ACL items compared in ${took}; ${receipt.mismatches} rows differ`,
    `  receipt ${result.vaultKey}`,
    ...receipt.notTested.map((n) => `  not tested: ${n}`),
  ]);
}
