import type { Command } from 'commander';
import { Database } from '../../activities/contacts/database.ts';
import { readUpdates } from '../../activities/notify/updates.ts';
import { isOpen, type ExternalUpdate, type ExternalVerb } from '../../workflows/model/external.ts';
import { failureText } from '../../workflows/model/failures.ts';
import { duration } from '../../workflows/model/rto.ts';
import { ageMs } from '../../workflows/model/snapshots.ts';
import type { Configuration, CustomerConfiguration } from '../config/configuration.ts';
import { sendExternal, signExternal } from '../external-updates.ts';
import { sitesToAsk } from '../config/here.ts';
import { Fault } from '../fault.ts';
import { loadPrivateKey } from '../keys.ts';
import { givenPassphrase } from '../passphrase.ts';
import { plain, table, type Context } from './print.ts';
import { customerOf, openConfiguration, siteOf } from './site.ts';

/** Requests to parties outside: they lie in the databases, so that they can be read without Temporal. */

interface Where {
  customer?: string;
}

interface Signing extends Where {
  party: string;
  epoch?: string;
  operator: string;
  key: string;
  passphraseFile?: string;
  because?: string;
}

export function register(program: Command, context: Context): void {
  const group = program
    .command('external-update')
    .description('changes that parties outside were asked for when users moved: they are followed to their end');
  const verb = (name: string, about: string): Command =>
    group.command(name).description(about).option('--customer <id>', 'needed when there is more than one');
  verb('list', 'what is asked of whom, since when')
    .option('--all', 'also what has ended')
    .action((o: Where & { all?: boolean }) => list(context, o));
  const signed = (name: ExternalVerb, about: string): void => {
    verb(name, about)
      .requiredOption('--party <name>', 'who was asked')
      .option('--epoch <number>', 'needed when more than one request to the party is open')
      .requiredOption('--operator <id>', 'who signs')
      .requiredOption('--key <file>', "the operator's private key")
      .option('--passphrase-file <file>', 'opens an encrypted key (or TANDEM_PASSPHRASE)')
      .option('--because <text>', `kept with the signature${name === 'cancel' ? ' (needed)' : ''}`)
      .action((o: Signing) => tell(context, name, o));
  };
  signed('acknowledge', 'the party has read it: it is asked no more');
  signed('done', 'the party has made the change');
  signed('cancel', 'the change is not wanted any more');
}

/** What the databases of a customer say, and which of them are silent. */
export async function openUpdates(
  configuration: Configuration,
  { id, sites }: CustomerConfiguration,
): Promise<{ updates: ExternalUpdate[]; silent: string[] }> {
  const silent: string[] = [];
  const found = await Promise.all(
    (await sitesToAsk(configuration, sites)).map(async (site) => {
      const settings = (await siteOf(configuration, site).settings()).customers.get(id);
      const name = `database of ${id} at ${site}`;
      const database = new Database(name, settings?.databaseUrl ?? '', {
        connections: 1,
        connectMs: 3000,
        statementMs: 3000,
      });
      try {
        return await database.connection((client) => readUpdates(client, id));
      } catch (error) {
        silent.push(failureText(error));
        return [];
      } finally {
        await database.close();
      }
    }),
  );
  return { updates: found.flat(), silent };
}

/** One line of a request for people. */
export function updateLine(u: ExternalUpdate): string {
  const asked = duration(ageMs(u.requestedAt, Date.now()));
  const sent = u.sent === 0 ? 'NOT SENT YET' : `sent ${u.sent === 1 ? 'once' : `${u.sent} times`}`;
  return plain(`${u.party} (${u.option}): ${u.state}, asked ${asked} ago to follow to ${u.to}, ${sent}`);
}

async function list(context: Context, o: Where & { all?: boolean }): Promise<void> {
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, o.customer);
  const { updates, silent } = await openUpdates(configuration, customer);
  const shown = updates.filter((u) => o.all || isOpen(u.state));
  for (const text of silent) context.out.say(`Not asked: ${text}`);
  const rows = shown.map((u) => [
    u.party,
    u.option,
    `${u.from} → ${u.to}`,
    String(u.epoch),
    u.state,
    duration(ageMs(u.requestedAt, Date.now())),
    String(u.sent),
    [u.because, customer.parties.get(u.party)?.contact].filter(Boolean).join('; ask '),
  ]);
  const heading = ['party', 'option', 'moved', 'epoch', 'state', 'asked since', 'sent', ''];
  context.out.answer(
    shown,
    shown.length === 0
      ? `Nothing is asked of anybody outside for ${customer.id}.`
      : table([heading, ...rows.map((row) => row.map(plain))]),
  );
  const open = shown.find((u) => isOpen(u.state));
  if (open)
    context.out.next(
      `tandem external-update done --customer ${customer.id} --party ${open.party} --operator ID --key FILE`,
    );
}

async function tell(context: Context, verb: ExternalVerb, o: Signing): Promise<void> {
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, o.customer);
  const { updates, silent } = await openUpdates(configuration, customer);
  const open = updates.filter(
    (u) => u.party === o.party && isOpen(u.state) && (o.epoch === undefined || u.epoch === Number(o.epoch)),
  );
  const [update] = open;
  if (!update || open.length > 1)
    throw new Fault(
      `party ${JSON.stringify(o.party)}: ${open.length === 0 ? 'nothing is asked of it' : `${open.length} requests are open`}${silent.map((s) => `; ${s}`).join('')}`,
      open.length > 1
        ? `Name one: ${open.map((u) => `--epoch ${u.epoch}`).join(' or ')}.`
        : `\`tandem external-update list --customer ${customer.id}\` shows what is.`,
    );
  const { operator, because } = o;
  const key = await loadPrivateKey(o.key, await givenPassphrase(o.passphraseFile));
  const client = await siteOf(configuration, update.to).client();
  try {
    const signed = signExternal(update, { verb, operator, key, ...(because !== undefined && { because }) });
    const after = await sendExternal(client, update, signed);
    context.out.answer(after, `Accepted: ${verb} by ${operator}. ${updateLine(after)}`);
  } finally {
    await client.connection.close();
  }
}
