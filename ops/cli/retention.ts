import type { Command } from 'commander';
import { Database } from '../../activities/contacts/database.ts';
import { Cleaner } from '../../activities/vault/cleaner.ts';
import { deleteExpired } from '../../activities/vault/delete-expired.ts';
import type { WholeFates } from '../../activities/vault/delete-whole.ts';
import { fates, type RetentionResult } from '../../workflows/model/retention.ts';
import type { RetentionRun } from '../../workflows/retention.ts';
import { openVaults } from '../coverage.ts';
import { Fault } from '../fault.ts';
import { retentionNow } from '../snapshots.ts';
import { table, type Context } from './print.ts';
import { customerOf, openConfiguration, siteOf } from './site.ts';

interface Where {
  site: string;
  customer?: string;
}

const LIMITS = { connections: 1, connectMs: 5000, statementMs: 60_000 };

export function register(program: Command, context: Context): void {
  const group = program.command('retention').description('what of a vault is past its keeping');
  const verb = (name: string, about: string): Command =>
    group
      .command(name)
      .description(about)
      .requiredOption('--site <site>', 'whose vault: a site cleans its own only')
      .option('--customer <id>', 'needed when there is more than one');
  verb('plan', 'tell what a run would delete, what it would keep, and why; deletes nothing').action((o: Where) =>
    plan(context, o),
  );
  verb('run', 'open all that the vault holds, then delete what may go: now, beside the daily run').action((o: Where) =>
    run(context, o),
  );
}

/** Done here and not by the worker: it needs nothing but the vault and the database. */
async function plan(context: Context, o: Where): Promise<void> {
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, o.customer);
  const settings = await siteOf(configuration, o.site).settings();
  const { databaseUrl = '' } = settings.customers.get(customer.id) ?? {};
  const database = new Database(`database of ${customer.id} at ${o.site}`, databaseUrl, LIMITS);
  const vaults = openVaults(settings);
  // The writer's credentials see everything, and could not delete if they tried.
  const cleaner = new Cleaner(settings.vault);
  try {
    const found = await deleteExpired({
      mode: 'dry-run',
      cleaner,
      vault: vaults.own,
      peer: vaults.peer(customer.sites.find((site) => site !== o.site) ?? ''),
      database,
      customer: customer.id,
      site: o.site,
      sites: customer.sites,
      publicKeys: settings.publicKeys,
      heartbeat: () => undefined,
      signal: context.signal,
    });
    show(context, found);
    if (!settings.cleaner) context.out.say(`${NO_CLEANER(o.site)}.`);
    else if (found.totals.expired.generations > 0)
      context.out.next(`tandem retention run --site ${o.site} --customer ${customer.id}`);
  } finally {
    cleaner.close();
    vaults.close();
    await database.close();
  }
}

async function run(context: Context, o: Where): Promise<void> {
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, o.customer);
  const at = siteOf(configuration, o.site);
  if (!at.site.vault.cleaner)
    throw new Fault(NO_CLEANER(o.site), `Make an account that may delete versions, and name it in the configuration.`);
  const client = await at.client();
  try {
    context.out.say(`Retention of ${customer.id} at ${o.site} …`);
    show(context, await retentionNow(client, o.site, customer));
  } finally {
    await client.connection.close();
  }
}

const NO_CLEANER = (site: string): string =>
  `site ${site}: has no \`vault.cleaner\`, so nothing of its vault is deleted`;

function show({ out }: Context, result: RetentionResult & Partial<RetentionRun & { journals: WholeFates }>): void {
  const rows = result.sources.flatMap(({ site, generations }) =>
    generations.map((g) => [site, ...[g.gen, g.snapshots, g.packs, g.bytes].map(String), g.fate, g.because]),
  );
  const totals = fates.flatMap((fate) => {
    const { generations, objects, bytes } = result.totals[fate];
    return generations > 0 ? [`${fate}: ${generations} generations, ${objects} objects, ${bytes} bytes`] : [];
  });
  const journals = Object.entries(result.journals ?? {}).flatMap(([fate, moves]) =>
    moves > 0 ? [`journals of the peer, ${fate}: ${moves}`] : [],
  );
  const checks = (result.checks ?? []).map(
    ({ of, packs, damaged, repaired, because }) =>
      `snapshots of ${of}: ${packs} packs opened, ${repaired} objects mended, ${damaged} damaged${because === null ? '' : `: ${because}`}`,
  );
  out.answer(result, [
    ...(rows.length === 0
      ? ['No snapshots yet.']
      : table([['of site', 'generation', 'snapshots', 'packs', 'bytes', 'fate', 'because'], ...rows])),
    '',
    ...checks,
    ...totals,
    ...journals,
    ...(result.heldBy === null ? [] : [`Move ${result.heldBy} is live: nothing is deleted while it lasts.`]),
    ...(result.unknown === 0 ? [] : [`${result.unknown} objects have names that say nothing; they are left alone.`]),
  ]);
}
