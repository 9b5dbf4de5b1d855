import type { Command } from 'commander';
import { listSnapshots, newestCovered } from '../../activities/vault/catalog.ts';
import { duration } from '../../workflows/model/rto.ts';
import { ageMs, type SnapshotSummary } from '../../workflows/model/snapshots.ts';
import { openVaults } from '../coverage.ts';
import { snapshotNow } from '../snapshots.ts';
import { table, type Context } from './print.ts';
import { customerOf, openConfiguration, siteOf } from './site.ts';

interface Where {
  site: string;
  customer?: string;
}

export function register(program: Command, context: Context): void {
  const group = program.command('snapshot').description('copies of contacts and ACLs');
  const verb = (name: string, about: string): Command =>
    group
      .command(name)
      .description(about)
      .requiredOption('--site <site>', 'whose users, or whose vault')
      .option('--customer <id>', 'needed when there is more than one');
  verb('now', 'take one of what a site serves, beside the schedules')
    .option('--changes', 'read only the users that changed, as the runs between do; else every row is read')
    .action((o: Where & { changes?: boolean }) => now(context, o));
  verb('list', "what a site's vault holds, of its own users and of its peer's").action((o: Where) => list(context, o));
}

async function now(context: Context, o: Where & { changes?: boolean }): Promise<void> {
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, o.customer);
  const client = await siteOf(configuration, o.site).client();
  try {
    context.out.say(`Snapshot of ${customer.id} at ${o.site} …`);
    const taken = await snapshotNow(client, o.site, customer, o.changes ? 'changes' : 'all');
    const { users, contacts, aclItems } = taken.counts;
    context.out.answer(
      taken,
      `Snapshot ${taken.seq} of ${taken.site}: ${users} users, ${contacts} contacts, ${aclItems} ACL items, ${taken.bytes} bytes; recovery point ${taken.point}`,
    );
    context.out.next('tandem status');
  } finally {
    await client.connection.close();
  }
}

async function list(context: Context, o: Where): Promise<void> {
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, o.customer);
  const settings = await siteOf(configuration, o.site).settings();
  const vaults = openVaults(settings);
  const { publicKeys } = settings;
  const rows: string[][] = [
    ['of site', 'seq', 'recovery point', 'age', 'users', 'contacts', 'ACL items', 'bytes', 'state'],
  ];
  const found: (SnapshotSummary & { covered: boolean })[] = [];
  const faults: string[] = [];
  try {
    for (const site of customer.sites) {
      const peer = customer.sites.find((s) => s !== site) ?? '';
      const shelf = { vault: vaults.own, customer: customer.id, site, publicKeys };
      const newest = site === o.site ? null : await newestCovered(shelf, peer);
      const catalog = await listSnapshots(shelf);
      faults.push(...catalog.faults.map((f) => `snapshot ${f.id.seq} of ${site} is damaged: ${f.because}`));
      for (const s of catalog.snapshots) {
        const covered = newest !== null && s.seq <= newest.summary.seq;
        found.push({ ...s, covered });
        const state = site === o.site ? 'local' : covered ? 'covered' : 'not verified';
        const age = duration(ageMs(s.point, Date.now()));
        rows.push([
          site,
          String(s.seq),
          s.point,
          age,
          ...[s.counts.users, s.counts.contacts, s.counts.aclItems, s.bytes].map(String),
          state,
        ]);
      }
    }
  } finally {
    vaults.close();
  }
  context.out.answer({ vault: o.site, snapshots: found, faults }, [
    ...(found.length === 0 ? ['No snapshots yet.'] : table(rows)),
    ...faults,
  ]);
  if (found.length === 0) context.out.next(`tandem snapshot now --site ${o.site}`);
}
