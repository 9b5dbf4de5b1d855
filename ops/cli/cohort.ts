import { readFile } from 'node:fs/promises';
import { InvalidArgumentError, type Command } from 'commander';
import { cohortsHere, setCohort, shareCohorts, unlike } from '../../activities/services/cohorts.ts';
import { cohortsOfPeer } from '../../activities/services/peer-functions.ts';
import { openSite, type OwnSite } from '../../activities/services/site.ts';
import type { CustomerSettings } from '../../activities/settings.ts';
import { failureText } from '../../workflows/model/failures.ts';
import { COHORT_NAME, homeOf, isCohort } from '../../workflows/model/half.ts';
import { usersOfFile, usersOfRehomed, usersOfShare, type Probes } from '../cohort-users.ts';
import { Fault } from '../fault.ts';
import { exits, table, type Context } from './print.ts';
import { customerOf, openConfiguration, siteOf } from './site.ts';

interface Where {
  site: string;
  customer?: string;
}

interface SetOptions extends Where {
  users?: string;
  share?: number;
  rehomed?: number;
  home?: string;
}

export function register(program: Command, context: Context): void {
  const group = program
    .command('cohort')
    .description('users who move on their own, before the others of their half: `relocate --half HOME/NAME`');
  const verb = (name: string, about: string): Command =>
    group
      .command(name)
      .description(about)
      .requiredOption('--site <site>', 'the site that serves the half now')
      .option('--customer <id>', 'needed when there is more than one');
  verb('set', 'who is in a cohort, at both sites; whoever was and is not named goes back to the half')
    .argument('<name>', COHORT_NAME)
    .option('--users <file>', 'one user a line')
    .option('--share <percent>', 'so many of all users of the half, always the same ones', percent)
    .option('--rehomed <epoch>', 'those whom the relocate of this epoch has given their home', epochNumber)
    .option('--home <site>', 'the home of the users (default: the site that serves them)')
    .action((name: string, o: SetOptions) => set(context, name, o));
  verb('end', 'its users go back to the half, at both sites')
    .argument('<name>', 'the cohort')
    .option('--home <site>', 'the home of the users (default: the site that serves them)')
    .action((name: string, o: SetOptions) => end(context, name, o));
  verb('list', 'cohorts as both sites know them').action((o: Where) => list(context, o));
  verb('share', 'have the other site know the cohorts of the halves that this site serves').action((o: Where) =>
    within(context, o, async (site, customer) => {
      await shareCohorts(site, customer, undefined, context.signal);
      context.out.answer({ shared: true }, `${customer.peer} knows the cohorts of ${customer.id} as ${o.site} does.`);
    }),
  );
}

function percent(value: string): number {
  const share = Number(value.replace(/%$/, ''));
  if (value.trim() !== '' && share > 0 && share <= 100) return share;
  throw new InvalidArgumentError('above 0 and up to 100 is allowed, such as 5%.');
}

function epochNumber(value: string): number {
  if (/^[1-9]\d{0,14}$/.test(value)) return Number(value);
  throw new InvalidArgumentError('the number of an epoch is expected.');
}

async function within(
  context: Context,
  o: Where,
  work: (site: OwnSite, customer: CustomerSettings) => Promise<void>,
): Promise<void> {
  const configuration = await openConfiguration(context);
  const { id } = customerOf(configuration, o.customer);
  const site = openSite(await siteOf(configuration, o.site).settings());
  try {
    await work(site, site.customer(id));
  } finally {
    await site.close();
  }
}

function halfNamed(name: string, { home, site }: SetOptions, sites: readonly string[]): string {
  const half = `${home ?? site}/${name}`;
  if (!sites.includes(homeOf(half)))
    throw new Fault(`--home ${JSON.stringify(home)}: is no site of this customer`, `Name ${sites.join(' or ')}.`);
  if (!isCohort(half)) throw new Fault(`cohort ${JSON.stringify(name)}: is no name`, `It takes ${COHORT_NAME}.`);
  return half;
}

async function set(context: Context, name: string, o: SetOptions): Promise<void> {
  if ([o.users, o.share, o.rehomed].filter((one) => one !== undefined).length !== 1)
    throw new Fault(
      'cohort set: takes one of --users, --share and --rehomed',
      'Say who is in it: a file, a share of all, or whom a relocate has given their home.',
    );
  await within(context, o, async (site, customer) => {
    const half = halfNamed(name, o, customer.sites);
    const database = site.database(customer.id);
    const probes: Probes = new Map(
      [...(customer.probes?.accounts ?? [])].flatMap(([of, all]) => Object.values(all).map(({ user }) => [user, of])),
    );
    const named =
      o.rehomed !== undefined
        ? await usersOfRehomed(database, half, o.rehomed)
        : o.share !== undefined
          ? await usersOfShare(database, half, { share: o.share, probes })
          : await usersOfFile(database, { ...(await read(o.users ?? '')), half, domain: customer.domain, probes });
    // Whoever looks at a service for this cohort is one of it.
    const also = [...probes].flatMap(([user, of]) => (of === half && !named.includes(user) ? [user] : []));
    const users = await setCohort(site, customer, { half, names: [...named, ...also] }, context.signal);
    const told = also.length > 0 ? `, ${also.length} of them accounts of its probes` : '';
    context.out.answer(
      { cohort: half, users, probeAccounts: also.length },
      `${half}: ${users} users${told}, at ${o.site} and ${customer.peer}. They are served as before.`,
    );
    context.out.next(`tandem relocate plan --half ${half} --to ${customer.peer}`);
  });
}

async function read(file: string): Promise<{ file: string; text: string }> {
  try {
    return { file, text: await readFile(file, 'utf8') };
  } catch (error) {
    throw new Fault(`--users ${file}: ${failureText(error)}`, 'Name a file with one user a line.');
  }
}

async function end(context: Context, name: string, o: SetOptions): Promise<void> {
  await within(context, o, async (site, customer) => {
    const half = halfNamed(name, o, customer.sites);
    const known = await site.database(customer.id).connection((client) => cohortsHere(client, customer.id));
    if (!known.has(half))
      throw new Fault(`cohort ${half}: ${o.site} knows none of that name`, `\`tandem cohort list --site ${o.site}\`.`);
    await setCohort(site, customer, { half, names: [] }, context.signal);
    context.out.answer({ cohort: half, ended: true }, `${half} has ended: its users are of ${homeOf(half)} again.`);
  });
}

async function list(context: Context, o: Where): Promise<void> {
  await within(context, o, async (site, customer) => {
    const database = site.database(customer.id);
    const [here, there, rights] = await Promise.all([
      database.connection((client) => cohortsHere(client, customer.id)),
      cohortsOfPeer(customer, context.signal).catch((error: unknown) => failureText(error)),
      database.query<{ half: string; site: string }>('select half, site from tandem.serving where customer = $1', [
        customer.id,
      ]),
    ]);
    const silent = typeof there === 'string';
    const differ = silent ? [] : unlike(here, there);
    const all = [...new Set([...here.keys(), ...(silent ? [] : there.keys())])].toSorted();
    const rows = all.map((half) => ({
      half,
      users: here.get(half)?.users ?? 0,
      servedAt: rights.find((row) => row.half === half)?.site ?? null,
      same: silent ? null : !differ.includes(half),
    }));
    const told = (same: boolean | null): string => (same === null ? 'not known' : same ? 'the same' : 'DIFFERS');
    context.out.answer(rows, [
      ...(rows.length === 0
        ? [`${customer.id} has no cohorts.`]
        : table([
            ['cohort', 'users', 'served at', `at ${customer.peer}`],
            ...rows.map((r) => [r.half, String(r.users), r.servedAt ?? 'nobody', told(r.same)]),
          ])),
      ...(silent ? [`${customer.peer} does not answer: ${there}`] : []),
    ]);
    if (differ.length === 0) return;
    context.out.next(`tandem cohort share --site ${o.site}`);
    process.exitCode = exits.held;
  });
}
