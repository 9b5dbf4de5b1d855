import { InvalidArgumentError, type Command } from 'commander';
import {
  customerWordText,
  decisionHolds,
  whyNotNow,
  type CustomerStanding,
  type CustomerWord,
  type Destroyed,
} from '../../workflows/model/customer.ts';
import type { Configuration, CustomerConfiguration } from '../config/configuration.ts';
import { begunAt, beginAt, destroyAt, keysToDestroy } from '../customers/destroy.ts';
import { lookAt } from '../customers/look.ts';
import { databaseAt, gather, openGround, sitesToAct } from '../customers/ground.ts';
import { hearWord, judgeWord, type Hearing } from '../customers/words.ts';
import { Fault } from '../fault.ts';
import { removeSchedules } from '../schedules.ts';
import { exits, type Context } from './print.ts';
import { signedOptions, signedWord, type WordOptions } from './signed-word.ts';
import { customerOf, openConfiguration, siteOf } from './site.ts';

interface RetireOptions extends WordOptions {
  takeBack?: true;
  destroy?: true;
  dropSchema?: true;
  on?: string;
  site?: string;
}

export function registerRetire(group: Command, context: Context): void {
  const command = group
    .command('retire')
    .description('a customer leaves: two operators sign, one of them a commander; later its keys are destroyed')
    .argument('<id>', 'which customer')
    .option('--on <date>', 'its day, such as 2030-06-01 (default: at once)', dayOf)
    .option('--take-back', 'it stays after all: two operators sign')
    .option(
      '--destroy',
      'on its day or later: destroy its keys at each site whose secrets are here; one operator signs',
    )
    .option('--drop-schema', 'with --destroy: drop schema tandem of its database, too; all else there is its owner’s')
    .option('--site <site>', 'at which site (default: where its secrets are)');
  signedOptions(command).action((id: string, o: RetireOptions) => retire(context, id, o));
}

function dayOf(text: string): string {
  if (!/^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?Z)?$/.test(text) || Number.isNaN(Date.parse(text)))
    throw new InvalidArgumentError('a day such as 2030-06-01 or a time such as 2030-06-01T12:00:00Z is expected.');
  return new Date(text).toISOString();
}

async function retire(context: Context, id: string, o: RetireOptions): Promise<void> {
  if ((o.takeBack && o.destroy) || (o.on !== undefined && (o.takeBack || o.destroy)))
    throw new InvalidArgumentError('one of --on, --take-back and --destroy is allowed');
  if (o.dropSchema && !o.destroy) throw new InvalidArgumentError('--drop-schema goes with --destroy');
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, id);
  const sites = await sitesToAct(configuration, customer.sites, o.site);
  if (o.destroy) return destroy(context, configuration, customer, { ...o, sites });
  const [site = ''] = sites;
  await within(context, configuration, customer, site, async (hearing) => {
    const verb = o.takeBack ? 'stay' : 'leave';
    const word = await wordOf(context, o, { verb, customer: id, standing: hearing.gathered.standing });
    if (word) await told(context, hearing, { ...word, verb });
  });
}

/** Both vaults must answer: what is not seen may be a word that changes everything. */
async function within(
  context: Context,
  configuration: Configuration,
  customer: CustomerConfiguration,
  site: string,
  work: (hearing: Hearing) => Promise<void>,
): Promise<void> {
  const { signal } = context;
  const { id, sites } = customer;
  const ground = await openGround(configuration, site, sites);
  const database = await databaseAt(configuration, customer, site);
  try {
    const gathered = await gather(ground, id, { sites, known: [], signal });
    const [silent] = gathered.silent;
    if (silent !== undefined)
      throw new Fault(`customer ${id}: how it stands is not known: ${silent}`, 'Wait until both vaults answer.');
    await work({ ground, database, customer: id, operators: configuration.operators, gathered, signal });
  } finally {
    ground.vaults.close();
    await database.close();
  }
}

async function told(
  { out }: Context,
  hearing: Hearing,
  word: CustomerWord & { verb: 'leave' | 'stay' },
): Promise<void> {
  const { customer: id } = hearing;
  const { decision, by } = await hearWord(hearing, word);
  const back = word.verb === 'stay';
  const again = `tandem customer retire ${id}${back ? ' --take-back' : ` --on ${word.on}`} --operator ID --key FILE --because "…"`;
  if (!decision) {
    out.answer({ customer: id, verb: word.verb, agreed: false, by }, [
      `Signed by ${by.join(' and ')}; nothing has changed for ${id}: it takes two operators, one of them a commander.`,
    ]);
    out.next(again);
    process.exitCode = exits.held;
    return;
  }
  out.answer(
    { customer: id, verb: word.verb, agreed: true, by, decision },
    back
      ? `Taken back by ${by.join(' and ')}: ${id} stays.`
      : `${id} leaves on ${word.on}, by ${by.join(' and ')}. No new move starts; the other site knows within a minute. It may be taken back until its keys are destroyed.`,
  );
  out.next(back ? 'tandem status' : `tandem customer retire ${id} --destroy --operator ID --key FILE --because "…"`);
}

interface About {
  verb: CustomerWord['verb'];
  customer: string;
  standing: CustomerStanding;
}

/** The signed word; null when its text was written, to be signed elsewhere. */
async function wordOf(
  context: Context,
  o: RetireOptions,
  { verb, customer, standing }: About,
): Promise<CustomerWord | null> {
  const why = whyNotNow(verb, standing, Date.now());
  if (why !== null) throw new Fault(`customer ${customer}: ${why}`, `\`tandem customer show ${customer}\``);
  const flag = verb === 'stay' ? ' --take-back' : verb === 'destroy' ? ' --destroy' : '';
  return signedWord(context, o, {
    verb: `customer retire${flag}`,
    about: {
      verb,
      customer,
      decision: verb === 'destroy' ? (standing.leaving?.number ?? 0) : standing.next,
      on: verb === 'leave' ? (o.on ?? sameDay()) : null,
    },
    textOf: customerWordText,
    again: `tandem customer retire ${customer}${flag}`,
  });
}

/** Two who say "at once" within a day mean the same. */
const sameDay = (): string => `${new Date().toISOString().slice(0, 10)}T00:00:00.000Z`;

async function destroy(
  context: Context,
  configuration: Configuration,
  customer: CustomerConfiguration,
  o: RetireOptions & { sites: string[] },
): Promise<void> {
  const { id } = customer;
  const done: Destroyed[] = [];
  for (const site of o.sites)
    await within(context, configuration, customer, site, async (hearing) => {
      const certificate = await destroyHere(context, configuration, customer, { ...o, site }, hearing);
      if (certificate) done.push(certificate);
    });
  // What was signed elsewhere was only written down.
  if (done.length < o.sites.length) return;
  // Each vault is given the certificate of the other.
  const { destroyed } = (await lookAt(configuration, id, context.signal)).standing;
  const left = customer.sites.filter((site) => !destroyed.some((d) => d.site === site));
  context.out.answer({ customer: id, certificates: done, left }, [
    ...done.flatMap((d) => [
      `The keys of ${id} are destroyed at ${d.site}, ${d.at}:`,
      ...d.keys.map((k) => `  ${k.id}${k.checksum === null ? '' : ` (${k.checksum})`}: ${k.how}`),
    ]),
    `By hand: destroy every escrow of ${id}, files and paper, and backups of its key files; take it out of tandem.yaml at ${o.sites.join(' and ')}, and restart the worker there: it has the keys in memory until then. Then \`tandem schedules apply\`.`,
    ...left.map((site) => `Keys that are still at ${site} open everything: give this command there.`),
  ]);
  context.out.next(
    left.length > 0
      ? `tandem customer retire ${id} --destroy --site ${left[0]} --operator ID --key FILE --because "…"`
      : `tandem customer show ${id}`,
  );
  if (left.length > 0) process.exitCode = exits.held;
}

/** One site. What it has begun it goes on with, without asking anybody again. Null when the word is to be signed elsewhere. */
async function destroyHere(
  context: Context,
  configuration: Configuration,
  customer: CustomerConfiguration,
  o: RetireOptions & { site: string },
  hearing: Hearing,
): Promise<Destroyed | null> {
  const { ground, gathered, database, signal } = hearing;
  const { id } = customer;
  const burial = { ground, configuration, customer, gathered, signal };
  const before = begunAt(gathered.records, o.site);
  const word = before ? null : await wordOf(context, o, { verb: 'destroy', customer: id, standing: gathered.standing });
  if (!before && !word) return null;
  if (word) {
    const admitted = await judgeWord(hearing, word);
    const { leaving } = gathered.standing;
    // What cannot be taken back is not left to what a file, or the other site, says of operators.
    if (!leaving || !decisionHolds(admitted, leaving))
      throw new Fault(
        `customer ${id}: those who decided that it leaves do not all count at ${o.site}`,
        `Two who do decide anew: \`tandem customer retire ${id} --take-back\`, then without it.`,
      );
    const live = await database.query('select from tandem.move where customer = $1 and ended_at is null', [id]);
    if (live.length > 0) throw new Fault(`customer ${id}: a move of it is live at ${o.site}`, '`tandem status`');
  }
  const keys = word ? await keysToDestroy(burial) : {};
  const client = await siteOf(configuration, o.site).client();
  try {
    await removeSchedules(client, id);
  } finally {
    await client.connection.close();
  }
  const begun = before ?? (word && (await beginAt(burial, word, keys)));
  if (!begun) return null;
  const certificate = await destroyAt(burial, begun);
  if (o.dropSchema) await database.query('drop schema if exists tandem cascade');
  return certificate;
}
