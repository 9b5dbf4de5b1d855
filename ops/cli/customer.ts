import type { Command } from 'commander';
import { customerStates, type CustomerStanding } from '../../workflows/model/customer.ts';
import { sitesToAsk } from '../config/here.ts';
import { customersIn } from '../../activities/vault/customer-records.ts';
import { addAt, type Added } from '../customers/add.ts';
import { openGround, sitesToAct } from '../customers/ground.ts';
import { lackLines, lookAt, nextOf } from '../customers/look.ts';
import { Fault } from '../fault.ts';
import { openEscrow } from '../keyring/escrow.ts';
import { needPassphrase } from '../passphrase.ts';
import { registerRetire } from './customer-retire.ts';
import { exits, table, type Context } from './print.ts';
import { customerOf, openConfiguration } from './site.ts';

export function register(program: Command, context: Context): void {
  const group = program
    .command('customer')
    .description('customers come and go: joining, protected, leaving, gone')
    .addHelpText('after', () => `\n${table(Object.entries(customerStates).map(([k, v]) => [`  ${k}`, v])).join('\n')}`);
  group
    .command('add')
    .description('take a customer of the configuration on, at each site whose secrets are here')
    .argument('<id>', 'its id; it never changes, and is never given again')
    .requiredOption('--domain <domain>', 'its domain, as the configuration must say it')
    .option('--escrow <file>', 'shows that its keys lie in an escrow; needed at the first site')
    .option('--passphrase-file <file>', 'opens the escrow (or TANDEM_PASSPHRASE, or the terminal)')
    .option('--site <site>', 'only this site')
    .action((id: string, o: AddOptions) => add(context, id, o));
  group
    .command('list')
    .description('every customer that is configured, or of whom a vault knows')
    .action(() => list(context));
  group
    .command('show')
    .description('how a customer stands, what it lacks, who decided what')
    .argument('<id>', 'its id, also of one that is gone')
    .action((id: string) => show(context, id));
  registerRetire(group, context);
}

interface AddOptions {
  domain: string;
  escrow?: string;
  passphraseFile?: string;
  site?: string;
}

async function add(context: Context, id: string, o: AddOptions): Promise<void> {
  const { out, signal } = context;
  const configuration = await openConfiguration(context);
  const customer = configuration.customers.get(id);
  if (!customer)
    throw new Fault(
      `customer ${JSON.stringify(id)}: not in ${configuration.file}`,
      'Write it under `customers` at both sites first: its domain, sites, databases and keys; then `tandem config check`.',
    );
  const escrow =
    o.escrow === undefined
      ? null
      : await openEscrow(o.escrow, await needPassphrase({ file: o.passphraseFile, fresh: false }));
  if (escrow && escrow.head.customer !== id)
    throw new Fault(`escrow ${o.escrow}: is that of ${escrow.head.customer}, not of ${id}`, 'Name its own.');
  const added: Added[] = [];
  for (const site of await sitesToAct(configuration, customer.sites, o.site))
    added.push(await addAt(configuration, customer, site, { domain: o.domain, escrow, signal }));
  const { standing, lacks } = await lookAt(configuration, id, signal);
  const unmade = added.filter(({ missing }) => missing.length > 0);
  out.answer({ customer: id, ...brief(standing), added, lacks }, [
    ...added.map(({ site, joined }) => `${id} was added at ${site} on ${joined.at}: its database is prepared.`),
    ...unmade.map(
      ({ site, missing, because }) =>
        `${site} lacks ${missing.length} of its schedules: restart its worker, which makes them${because === null ? '' : ` (${because})`}.`,
    ),
    ...lackLines(standing, lacks),
  ]);
  const [first] = unmade;
  out.next(first ? `tandem worker --site ${first.site}` : nextOf(id, standing, lacks));
}

const brief = ({ state, since, leaving, destroyed }: CustomerStanding): object => ({
  state,
  since,
  leaving,
  destroyed,
});

async function show(context: Context, id: string): Promise<void> {
  const { out, signal } = context;
  const configuration = await openConfiguration(context);
  const { standing, silent, lacks } = await lookAt(configuration, id, signal);
  if (standing.state === 'unrecorded') customerOf(configuration, id); // Nobody knows it: that is a fault.
  const { state, since, joined, destroyed } = standing;
  out.answer({ customer: id, ...brief(standing), joined, lacks, silent }, [
    `${id}: ${state}${since === null ? '' : ` since ${since}`}: ${customerStates[state]}.`,
    ...joined.map((j) => `added at ${j.site} on ${j.at}: ${j.domain}, keys ${Object.entries(j.keys).flat().join(' ')}`),
    ...lackLines(standing, lacks),
    ...destroyed.flatMap((d) => [
      `certificate of ${d.site}, ${d.at}: decided by ${d.decidedBy.join(' and ')}, carried out by ${d.carriedOutBy}`,
      ...d.keys.map((k) => `  key ${k.id}${k.checksum === null ? '' : ` (${k.checksum})`}: ${k.how}`),
    ]),
    ...silent.map((because) => `NOT SEEN: ${because}`),
  ]);
  out.next(nextOf(id, standing, lacks));
  if (lacks.length > 0) process.exitCode = exits.held;
}

async function list(context: Context): Promise<void> {
  const { out, signal } = context;
  const configuration = await openConfiguration(context);
  const ids = new Set(configuration.customers.keys());
  for (const site of await sitesToAsk(configuration, [...configuration.sites.keys()])) {
    const { vaults } = await openGround(configuration, site, []);
    try {
      for (const id of await customersIn(vaults.own, signal)) ids.add(id);
    } finally {
      vaults.close();
    }
  }
  const rows = [];
  for (const id of [...ids].toSorted()) {
    const { standing, silent } = await lookAt(configuration, id, signal);
    const configured = configuration.customers.has(id);
    rows.push({ customer: id, state: standing.state, since: standing.since, configured, silent });
  }
  out.answer({ customers: rows }, [
    ...table([
      ['customer', 'state', 'since', 'configured'],
      ...rows.map((r) => [r.customer, r.state, r.since ?? '-', r.configured ? 'yes' : 'no']),
    ]),
    ...[...new Set(rows.flatMap((r) => r.silent))].map((because) => `NOT SEEN: ${because}`),
  ]);
}
