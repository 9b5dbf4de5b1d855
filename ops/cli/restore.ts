import type { Command } from 'commander';
import { Database } from '../../activities/contacts/database.ts';
import { loadRecords } from '../../activities/contacts/load.ts';
import { restoreSnapshot } from '../../activities/contacts/restore.ts';
import { halvesOfHome } from '../../activities/services/cohorts.ts';
import type { SiteSettings } from '../../activities/settings.ts';
import { listIds, newestSnapshot } from '../../activities/vault/catalog.ts';
import { openSnapshot, type OpenSnapshot } from '../../activities/vault/open.ts';
import type { Vault } from '../../activities/vault/port.ts';
import type { UserRecord } from '../../activities/vault/record.ts';
import { failureText } from '../../workflows/model/failures.ts';
import type { ApplyCounts } from '../../workflows/model/snapshots.ts';
import type { CustomerConfiguration } from '../config/configuration.ts';
import { openVaults } from '../coverage.ts';
import { Fault } from '../fault.ts';
import { table, type Context } from './print.ts';
import { customerOf, openConfiguration, siteOf } from './site.ts';

interface Where {
  site: string;
  of?: string;
  customer?: string;
  seq?: string;
  user: string[];
  dryRun?: boolean;
  into?: string;
}

const LIMITS = { connections: 6, connectMs: 5000, statementMs: 600_000 };

export function register(program: Command, context: Context): void {
  program
    .command('restore')
    .description('a snapshot against a database: what a restore would change, or all of it into another database')
    .requiredOption('--site <site>', 'whose vault it is read from, and whose database is looked at')
    .option('--of <site>', 'whose users (default: those of the peer, as after its loss)')
    .option('--customer <id>', 'needed when there is more than one')
    .option('--seq <number>', 'of the snapshot (default: the newest)')
    .option('--user <name>', 'only this one; may be repeated', (name: string, all: string[]) => [...all, name], [])
    .option('--dry-run', 'count what differs, name users by their id, and write nothing')
    .option('--into <url>', 'write all of it into this database, which has none of the tables yet')
    .action((o: Where) => restore(context, o));
}

async function restore(context: Context, o: Where): Promise<void> {
  if ((o.dryRun === true) === (o.into !== undefined))
    throw new Fault(
      'restore: takes either --dry-run or --into',
      "What a site's own database serves is changed by a failover only: `tandem failover start`.",
    );
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, o.customer);
  const of = halfOf(customer, o);
  const settings = await siteOf(configuration, o.site).settings();
  const vaults = openVaults(settings);
  try {
    const snapshot = await find(settings, vaults.own, customer.id, of, o.seq, context.signal);
    const work = { context, settings, customer: customer.id, of, snapshot, users: new Set(o.user) };
    await (o.into === undefined ? dryRun(work) : into(work, o.into));
  } finally {
    vaults.close();
  }
}

function halfOf(customer: CustomerConfiguration, o: Where): string {
  const of = o.of ?? customer.sites.find((site) => site !== o.site) ?? '';
  if (customer.sites.includes(of) && customer.sites.includes(o.site)) return of;
  throw new Fault(`restore: ${customer.id} is at ${customer.sites.join(' and ')}`, 'Name one of the two.');
}

async function find(
  settings: SiteSettings,
  vault: Vault,
  customer: string,
  site: string,
  seq: string | undefined,
  signal: AbortSignal,
): Promise<OpenSnapshot> {
  const { publicKeys } = settings;
  const shelf = { vault, customer, site, publicKeys, signal };
  const ids = seq === undefined ? [] : (await listIds(shelf)).filter((id) => String(id.seq) === seq);
  const id = seq === undefined ? (await newestSnapshot(shelf))?.summary : ids[0];
  if (!id)
    throw new Fault(
      `vault of ${settings.site}: ${seq === undefined ? 'no snapshot' : `no snapshot ${seq}`} of ${site}`,
      `\`tandem snapshot list --site ${settings.site}\` shows what it holds.`,
    );
  const keys = settings.customers.get(customer)?.keys;
  if (!keys) throw new Fault(`site ${settings.site}: does not serve ${customer}`, '`tandem config check` shows who.');
  return openSnapshot({ vault, keys, publicKeys, id, signal });
}

interface Work {
  context: Context;
  settings: SiteSettings;
  customer: string;
  of: string;
  snapshot: OpenSnapshot;
  /** Empty: all. */
  users: ReadonlySet<string>;
}

async function dryRun({ context, settings, customer, of, snapshot, users }: Work): Promise<void> {
  const { databaseUrl = '', keys } = settings.customers.get(customer) ?? {};
  if (!keys) return;
  const database = new Database(`database of ${customer} at ${settings.site}`, databaseUrl, LIMITS);
  const different: string[] = [];
  try {
    const { epoch } = snapshot.manifest;
    const index = await snapshot.index();
    const counts = await restoreSnapshot({
      database,
      snapshot,
      halves: await halvesOfHome(database, customer, of),
      guard: null,
      ledger: { snapshot: snapshot.summary, epoch, keys },
      ...(users.size > 0 && { filter: (name: string) => users.has(name) }),
      dryRun: true,
      different: ({ username }) => different.push(index.userKey(index.findName(username)).toString('hex')),
      heartbeat: ({ users: seen, written }) => context.out.say(`${seen} users compared, ${written} differ`),
      signal: context.signal,
    });
    const { seq, point } = snapshot.summary;
    context.out.answer({ snapshot: snapshot.summary, ...counts, different }, [
      `Snapshot ${seq} of ${of}, recovery point ${point}, against the database at ${settings.site}; nothing was written.`,
      ...table([
        ['users as in the snapshot', String(counts.users - counts.written)],
        ['users that would be written', String(counts.written)],
        ['users without a record', String(counts.withoutRecord)],
        ['  of these with rows here', String(counts.held)],
        ['users who are not in the directory', String(counts.elsewhere)],
        ['users whose ACL the service could not read', String(counts.quarantined)],
        ['users whose record is damaged', String(counts.unreadable)],
      ]),
      ...different.slice(0, SHOWN).map((id) => `  user ${id}`),
      ...(different.length > SHOWN ? [`  and ${different.length - SHOWN} more: --json lists all`] : []),
    ]);
  } finally {
    await database.close();
  }
}

const SHOWN = 20;

async function into({ context, snapshot, users }: Work, url: string): Promise<void> {
  const target = databaseOf(url);
  try {
    const counts = await loadRecords({
      database: target,
      records: chosen(snapshot.records(), users),
      heartbeat: ({ users: done }) => context.out.say(`${done} users`),
      signal: context.signal,
    });
    context.out.answer({ snapshot: snapshot.summary, ...counts }, told(snapshot, counts));
  } catch (error) {
    if (!failureText(error).endsWith('already exists')) throw error;
    throw new Fault(failureText(error), 'Name an empty database: nothing is written over what stands there.');
  } finally {
    await target.close();
  }
}

const told = ({ summary }: OpenSnapshot, { users, contacts, groups, aclItems }: ApplyCounts): string =>
  `Snapshot ${summary.seq} of ${summary.site}, recovery point ${summary.point}: ${users} users, ${contacts} contacts, ${groups} groups and ${aclItems} ACL items stand there.`;

function databaseOf(url: string): Database {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw new Fault(`--into: ${JSON.stringify(url)} is no URL`, 'Such as postgres://user@host:5432/database.');
  }
  // Arguments are read by everybody on the machine.
  if (parsed.password !== '')
    throw new Fault('--into: holds a password', 'Give it in PGPASSWORD or in a file that PGPASSFILE names.');
  return new Database(`database ${parsed.pathname.slice(1)} at ${parsed.host}`, url, LIMITS);
}

async function* chosen(records: AsyncIterable<UserRecord>, users: ReadonlySet<string>): AsyncGenerator<UserRecord> {
  for await (const record of records) if (users.size === 0 || users.has(record.username)) yield record;
}
