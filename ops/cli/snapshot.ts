import { sign } from 'node:crypto';
import type { Command } from 'commander';
import type { SiteSettings } from '../../activities/settings.ts';
import { keepAcceptance } from '../../activities/vault/accept.ts';
import { coveredSnapshots, listSnapshots } from '../../activities/vault/catalog.ts';
import { newestCheck } from '../../activities/vault/checks.ts';
import { damagedSeqs } from '../../workflows/model/checks.ts';
import type { Vault } from '../../activities/vault/port.ts';
import { duration } from '../../workflows/model/rto.ts';
import {
  acceptanceText,
  ageMs,
  type Acceptance,
  type Receipt,
  type SnapshotSummary,
} from '../../workflows/model/snapshots.ts';
import { openVaults } from '../coverage.ts';
import { Fault } from '../fault.ts';
import { loadPrivateKey } from '../keys.ts';
import { givenPassphrase } from '../passphrase.ts';
import { snapshotNow } from '../snapshots.ts';
import { table, type Context } from './print.ts';
import { customerOf, openConfiguration, siteOf } from './site.ts';
import { registerDiff } from './snapshot-diff.ts';
import { registerShow } from './snapshot-show.ts';
import { registerVerify } from './snapshot-verify.ts';

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
  verb('accept', 'let a suspect snapshot of the peer count, which shrank for a reason that you know')
    .requiredOption('--seq <number>', 'its number, as `snapshot list` shows it')
    .requiredOption('--operator <id>', 'who signs')
    .requiredOption('--key <file>', "the operator's private key")
    .requiredOption('--because <text>', 'the reason; kept with the signature')
    .option('--passphrase-file <file>', 'opens an encrypted key (or TANDEM_PASSPHRASE)')
    .action((o: Accept) => accept(context, o));
  verb('list', "what a site's vault holds, of its own users and of its peer's").action((o: Where) => list(context, o));
  registerShow(group, context);
  registerVerify(group, context);
  registerDiff(group, context);
}

async function now(context: Context, o: Where & { changes?: boolean }): Promise<void> {
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, o.customer);
  const client = await siteOf(configuration, o.site).client();
  try {
    context.out.say(`Snapshot of ${customer.id} at ${o.site} …`);
    const taken = await snapshotNow(client, o.site, customer, {
      read: o.changes ? 'changes' : 'all',
      waiting: { tell: (because) => context.out.say(`It is tried again: ${because}`), signal: context.signal },
    });
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

type Listed = SnapshotSummary & { covered: boolean; damaged: boolean; suspect?: string };

function stateOf({ damaged, suspect, covered }: Listed, own: boolean): string {
  if (damaged) return 'DAMAGED';
  if (suspect !== undefined) return 'SUSPECT';
  if (own) return 'local';
  return covered ? 'covered' : 'not verified';
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
  const found: Listed[] = [];
  const faults: string[] = [];
  try {
    for (const site of customer.sites) {
      const peer = customer.sites.find((s) => s !== site) ?? '';
      const shelf = { vault: vaults.own, customer: customer.id, site, publicKeys };
      const suspect = new Map<number, string>();
      const covering = new Set<number>();
      if (site !== o.site) {
        const passed = (r: Receipt): void => void suspect.set(r.snapshot.seq, r.suspect ?? '');
        for await (const { summary } of coveredSnapshots(shelf, peer, passed)) covering.add(summary.seq);
      }
      const check = await newestCheck(shelf, o.site);
      const damaged = damagedSeqs(check);
      faults.push(...(check?.damaged ?? []).map((d) => `${d.object} ${d.key} is damaged: ${d.because}`));
      const catalog = await listSnapshots(shelf);
      faults.push(...catalog.faults.map((f) => `snapshot ${f.id.seq} of ${site} is damaged: ${f.because}`));
      for (const s of catalog.snapshots) {
        const because = suspect.get(s.seq);
        const how = { covered: covering.has(s.seq), damaged: damaged.has(s.seq) };
        const one = { ...s, ...how, ...(because !== undefined && { suspect: because }) };
        found.push(one);
        if (because !== undefined) faults.push(`snapshot ${s.seq} of ${site} is suspect: ${because}`);
        const age = duration(ageMs(s.point, Date.now()));
        rows.push([
          site,
          String(s.seq),
          s.point,
          age,
          ...[s.counts.users, s.counts.contacts, s.counts.aclItems, s.bytes].map(String),
          stateOf(one, site === o.site),
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
  const waiting = found.find((s) => s.suspect !== undefined);
  if (found.length === 0) context.out.next(`tandem snapshot now --site ${o.site} --customer ${customer.id}`);
  else if (waiting) {
    context.out.remark(`Mend ${waiting.site}; or let it count, when you know why:`);
    context.out.next(
      `tandem snapshot accept --site ${o.site} --customer ${customer.id} --seq ${waiting.seq} --operator ID --key FILE --because "…"`,
    );
  }
}

interface Accept extends Where {
  seq: string;
  operator: string;
  key: string;
  because: string;
  passphraseFile?: string;
}

/** Signs what the covering site's receipt says of the snapshot, and leaves it in that site's vault. */
async function accept(context: Context, o: Accept): Promise<void> {
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, o.customer);
  const settings = await siteOf(configuration, o.site).settings();
  const key = await loadPrivateKey(o.key, await givenPassphrase(o.passphraseFile));
  const source = customer.sites.find((s) => s !== o.site) ?? '';
  const vaults = openVaults(settings);
  try {
    const receipt = await suspectReceipt(settings, vaults.own, { customer: customer.id, source, seq: o.seq });
    const { snapshot, manifest, counts } = receipt;
    const said = { snapshot, manifest, counts, operator: o.operator, because: o.because, at: new Date().toISOString() };
    const operatorSignature = sign(null, Buffer.from(acceptanceText(said)), key).toString('hex');
    const acceptance: Acceptance = { format: 1, ...said, operatorSignature };
    await keepAcceptance({ ...settings, vault: vaults.own }, acceptance);
    context.out.answer(
      acceptance,
      `Accepted by ${o.operator}: snapshot ${snapshot.seq} of ${snapshot.site} (${receipt.suspect}) counts, and ${o.site} applies it within minutes.`,
    );
    context.out.next('tandem status');
  } finally {
    vaults.close();
  }
}

async function suspectReceipt(
  settings: SiteSettings,
  vault: Vault,
  { customer, source, seq }: { customer: string; source: string; seq: string },
): Promise<Receipt> {
  const suspect: Receipt[] = [];
  const shelf = { vault, customer, site: source, publicKeys: settings.publicKeys };
  for await (const { receipt } of coveredSnapshots(shelf, settings.site, (r) => suspect.push(r))) void receipt;
  const found = suspect.find((r) => String(r.snapshot.seq) === seq);
  if (found) return found;
  const others = suspect.map((r) => r.snapshot.seq).join(', ') || 'none';
  throw new Fault(
    `snapshot ${seq} of ${source}: is not suspect in the vault of ${settings.site}; suspect there: ${others}`,
    `\`tandem snapshot list --site ${settings.site}\` shows what the vault holds.`,
  );
}
