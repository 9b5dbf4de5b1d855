import { InvalidArgumentError, type Command } from 'commander';
import type { Keyring, SiteSettings } from '../../activities/settings.ts';
import { listIds, newestSnapshot, type Shelf } from '../../activities/vault/catalog.ts';
import { openSnapshot, type OpenSnapshot } from '../../activities/vault/open.ts';
import type { SnapshotId } from '../../workflows/model/snapshots.ts';
import { openVaults, type Vaults } from '../coverage.ts';
import { Fault } from '../fault.ts';
import type { Context } from './print.ts';
import { customerOf, openConfiguration, siteOf } from './site.ts';

/** Which snapshots a verb looks at: those of one site, in the vault of the same or of its peer. */
export interface Where {
  site: string;
  of?: string;
  customer?: string;
}

export function verbOn(group: Command, name: string, about: string): Command {
  return group
    .command(name)
    .description(about)
    .requiredOption('--site <site>', 'whose vault is looked into')
    .option('--of <site>', 'whose snapshots (default: those of --site itself)')
    .option('--customer <id>', 'needed when there is more than one');
}

/** A number of a snapshot, as an option's value. */
export function sequence(text: string): number {
  const seq = Number(text);
  if (!/^\d+$/.test(text) || seq < 1 || seq > 9_999_999_999)
    throw new InvalidArgumentError('a number is expected, as `tandem snapshot list` shows it.');
  return seq;
}

export interface OpenShelf {
  settings: SiteSettings;
  vaults: Vaults;
  keys: Keyring;
  /** The other site of the customer, as seen from the one that took the snapshots. */
  peer: string;
  shelf: Shelf;
}

/** Runs a verb on the snapshots that it names, and closes what was opened. */
export async function onShelf(context: Context, o: Where, work: (open: OpenShelf) => Promise<void>): Promise<void> {
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, o.customer);
  const of = o.of ?? o.site;
  const at = siteOf(configuration, o.site); // An unknown site is told from a site of another customer.
  for (const site of [o.site, of]) {
    if (!customer.sites.includes(site))
      throw new Fault(
        `site ${JSON.stringify(site)}: ${customer.id} is at ${customer.sites.join(' and ')}`,
        'Name one of the two.',
      );
  }
  const settings = await at.settings();
  const keys = settings.customers.get(customer.id)?.keys;
  if (!keys) throw new Fault(`site ${o.site}: does not serve ${customer.id}`, '`tandem config check` shows who.');
  const vaults = openVaults(settings);
  const { publicKeys } = settings;
  const shelf = { vault: vaults.own, customer: customer.id, site: of, publicKeys, signal: context.signal };
  try {
    await work({ settings, vaults, keys, peer: customer.sites.find((site) => site !== of) ?? '', shelf });
  } finally {
    vaults.close();
  }
}

/** The id of a snapshot by its number; without one, of the newest whose manifest holds. */
export async function chosenId({ shelf, peer }: OpenShelf, seq: number | undefined): Promise<SnapshotId> {
  const { vault, site } = shelf;
  const ids = await listIds(shelf);
  const id = seq === undefined ? (await newestSnapshot(shelf))?.summary : ids.find((one) => one.seq === seq);
  if (id) return id;
  const [newest, oldest] = [ids.at(0), ids.at(-1)];
  if (!newest || !oldest) {
    throw new Fault(
      `vault of ${vault.site}: no snapshot of ${site}`,
      vault.site === site
        ? `\`tandem snapshot now --site ${site}\` takes one.`
        : `The worker of ${vault.site} copies it from ${site} within minutes; \`tandem status\` shows what it waits for.`,
    );
  }
  if (seq === undefined)
    throw new Fault(
      `vault of ${vault.site}: no manifest of ${site} holds, of ${ids.length}`,
      `\`tandem snapshot list --site ${vault.site}\` names what is wrong with each.`,
    );
  const others = (await listIds({ ...shelf, site: peer })).some((one) => one.seq === seq);
  throw new Fault(
    `vault of ${vault.site}: no snapshot ${seq} of ${site}; it holds ${oldest.seq} to ${newest.seq}`,
    others
      ? `There is a snapshot ${seq} of ${peer}: --of ${peer}. \`tandem snapshot list --site ${vault.site}\` shows all.`
      : `\`tandem snapshot list --site ${vault.site}\` shows what it holds.`,
  );
}

export async function openChosen(open: OpenShelf, seq: number | undefined): Promise<OpenSnapshot> {
  const { shelf, keys } = open;
  return openSnapshot({ ...shelf, keys, id: await chosenId(open, seq) });
}

const EVERY_MS = 1000;

/** Says how far a long work is, once a second: a short one says nothing. */
export function progress({ out }: Context): (line: () => string) => void {
  let last = Date.now();
  return (line) => {
    if (Date.now() - last < EVERY_MS) return;
    last = Date.now();
    out.say(line());
  };
}
