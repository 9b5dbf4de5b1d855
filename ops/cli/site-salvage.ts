import type { Command } from 'commander';
import { Database } from '../../activities/contacts/database.ts';
import { readSalvages, readUnsalvaged } from '../../activities/contacts/salvaged.ts';
import { servedFrom } from '../../activities/services/restored-here.ts';
import { salvageHalves } from '../../activities/vault/salvage.ts';
import type { SalvageSummary } from '../../workflows/model/snapshots.ts';
import { openVaults } from '../coverage.ts';
import { Fault } from '../fault.ts';
import { counted, type Context } from './print.ts';
import { progress } from './shelf.ts';
import { customerOf, openConfiguration, siteOf } from './site.ts';

interface Where {
  site: string;
  customer?: string;
  dryRun?: boolean;
}

/** A sorted reading of a large customer starts with one long statement. */
const LIMITS = { connections: 4, connectMs: 5000, statementMs: 600_000 };

export function registerSalvage(group: Command, context: Context): void {
  group
    .command('salvage')
    .description('write what this site alone has into its own vault: now, beside the worker, which does it by itself')
    .requiredOption('--site <site>', 'the site that came back')
    .option('--customer <id>', 'needed when there is more than one')
    .option('--dry-run', 'tell what there is to salvage, and what was')
    .action((o: Where) => salvage(context, o));
}

/** Done here and not by the worker: it needs nothing but the site's own vault and database. */
async function salvage(context: Context, o: Where): Promise<void> {
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, o.customer);
  const { id, sites } = customer;
  const settings = await siteOf(configuration, o.site).settings();
  const served = settings.customers.get(id);
  if (!served) throw new Fault(`site ${o.site}: ${id} is at ${sites.join(' and ')}`, 'Name one of the two.');
  const { keys, databaseUrl, snapshots } = served;
  const { signingKey, publicKeys } = settings;
  const database = new Database(`database of ${id} at ${o.site}`, databaseUrl, LIMITS);
  const vaults = openVaults(settings);
  try {
    const due = await readUnsalvaged(database, id, o.site);
    const before = await readSalvages(database, id);
    const tell = progress(context);
    const who = { customer: id, site: o.site, keys, signingKey, publicKeys };
    const done = o.dryRun
      ? []
      : await salvageHalves({
          vault: vaults.own,
          database,
          ...who,
          maxAgeMs: snapshots.budgetMs,
          restored: (half, epoch) => servedFrom(database, id, half, epoch),
          heartbeat: ({ users, packs }) => tell(() => `${users} users in ${packs} packs`),
          signal: context.signal,
        });
    context.out.answer({ customer: id, site: o.site, due, before, done }, [
      ...before.map(
        ({ half, epoch, at, released }) =>
          `${half} was served here under epoch ${epoch}: salvaged ${at}, ${released ? 'released' : 'kept until the way home releases it'}.`,
      ),
      ...(o.dryRun
        ? due.map(({ epoch, halves }) => `${halves.join(' and ')}, served here under epoch ${epoch}: to be salvaged.`)
        : done.map(told)),
      ...(due.length === 0 ? [`${o.site} has nothing that is to be salvaged.`] : []),
    ]);
    if (o.dryRun && due.length > 0) context.out.next(`tandem site salvage --site ${o.site} --customer ${id}`);
  } finally {
    vaults.close();
    await database.close();
  }
}

function told({ halves, epoch, counts, packs, bytes, point, suspect }: SalvageSummary): string {
  const { users, contacts, aclItems } = counts;
  const what = `${users} users, ${contacts} contacts, ${aclItems} ACL items, in ${counted(packs, 'pack')} of ${bytes} bytes`;
  const doubt = suspect === null ? '' : ` SUSPECT: ${suspect}. What is missing, nobody may have removed.`;
  return `${halves.join(' and ')}, served here under epoch ${epoch}: salvaged as of ${point}, ${what}.${doubt}`;
}
