import { sign } from 'node:crypto';
import type { Command } from 'commander';
import { aclFaults } from '../../activities/contacts/acl.ts';
import { Database } from '../../activities/contacts/database.ts';
import {
  readQuarantine,
  releaseText,
  releaseUsers,
  type Quarantined,
  type Release,
} from '../../activities/contacts/quarantine.ts';
import { readUsers } from '../../activities/contacts/rows.ts';
import type { SiteSettings } from '../../activities/settings.ts';
import { encodeRecord, noRows } from '../../activities/vault/record.ts';
import { duration } from '../../workflows/model/rto.ts';
import { ageMs } from '../../workflows/model/snapshots.ts';
import { Fault } from '../fault.ts';
import { loadPrivateKey } from '../keys.ts';
import { givenPassphrase } from '../passphrase.ts';
import { exits, table, type Context } from './print.ts';
import { customerOf, openConfiguration, siteOf } from './site.ts';

interface Where {
  site: string;
  customer?: string;
}

const LIMITS = { connections: 2, connectMs: 5000, statementMs: 60_000 };

export function register(program: Command, context: Context): void {
  const group = program
    .command('quarantine')
    .description('users who are not let in, because the service could not read their block list');
  const verb = (name: string, about: string): Command =>
    group
      .command(name)
      .description(about)
      .requiredOption('--site <site>', 'whose database')
      .option('--customer <id>', 'needed when there is more than one');
  verb('list', 'who is held, since when, and why').action((o: Where) => list(context, o));
  verb('show', 'the ACL of one of them, item by item, and what the service cannot read in it')
    .requiredOption('--user <name>', 'the user')
    .action((o: Where & { user: string }) => show(context, o));
  verb('release', 'let users in as their rows stand, what cannot be read being ignored')
    .requiredOption('--user <name...>', 'the users')
    .requiredOption('--operator <id>', 'who signs')
    .requiredOption('--key <file>', "the operator's private key")
    .requiredOption('--because <text>', 'the reason; kept with the signature')
    .option('--passphrase-file <file>', 'opens an encrypted key (or TANDEM_PASSPHRASE)')
    .action((o: ReleaseOptions) => release(context, o));
}

interface Place {
  customer: string;
  settings: SiteSettings;
  database: Database;
}

async function within<T>(context: Context, o: Where, work: (place: Place) => Promise<T>): Promise<T> {
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, o.customer).id;
  const settings = await siteOf(configuration, o.site).settings();
  const url = settings.customers.get(customer)?.databaseUrl ?? '';
  const database = new Database(`database of ${customer} at ${o.site}`, url, LIMITS);
  try {
    return await work({ customer, settings, database });
  } finally {
    await database.close();
  }
}

async function list(context: Context, o: Where): Promise<void> {
  await within(context, o, async ({ customer, database }) => {
    const found = await readQuarantine(database);
    const waiting = found.filter(({ release: word }) => word === null);
    const rows = found.map(({ username, because, since, release: word }) => [
      username,
      duration(ageMs(since.toISOString(), Date.now())),
      word ? `let in by ${word.operator}: ${word.because}` : 'HELD',
      because,
    ]);
    context.out.answer(
      { site: o.site, users: found },
      found.length === 0
        ? `Nobody is in quarantine at ${o.site}.`
        : table([['user', 'held for', 'state', 'why'], ...rows]),
    );
    const [first] = waiting;
    if (first) {
      context.out.next(
        `tandem quarantine show --site ${o.site} --customer ${customer} --user ${JSON.stringify(first.username)}`,
      );
      process.exitCode = exits.held;
    }
  });
}

async function show(context: Context, o: Where & { user: string }): Promise<void> {
  await within(context, o, async ({ customer, database }) => {
    const held = await heldUser(database, o.user);
    const rows = (await database.connection((client) => readUsers(client, [o.user]))).get(o.user) ?? noRows();
    const record = encodeRecord(o.user, rows);
    const faults = new Map(
      aclFaults({ bytes: record }).map((text) => [Number(/^item (\d+)/.exec(text)?.[1]), text.replace(/^.*?: /, '')]),
    );
    const items = rows.items.map(([name, type, value, action, order], i) => {
      const said = [String(i + 1), name, type, value, action, order].map((v) => v ?? 'NULL');
      return [...said, faults.get(i + 1) ?? ''];
    });
    context.out.answer(
      { user: held, lists: rows.lists, defaults: rows.defaults, items: rows.items, faults: [...faults] },
      [
        `${o.user}: ${held.because}`,
        `Default list: ${rows.defaults[0]?.[0] ?? 'none'}`,
        ...table([
          ['item', 'list', 'type', 'value', 'action', 'order', 'the service cannot read it, because'],
          ...items,
        ]),
      ],
    );
    context.out.remark('Mend it at the site that serves the user; or let him in as he is:');
    context.out.next(
      `tandem quarantine release --site ${o.site} --customer ${customer} --user ${JSON.stringify(o.user)} --operator ID --key FILE --because "…"`,
    );
  });
}

interface ReleaseOptions extends Where {
  user: string[];
  operator: string;
  key: string;
  because: string;
  passphraseFile?: string;
}

async function release(context: Context, o: ReleaseOptions): Promise<void> {
  const key = await loadPrivateKey(o.key, await givenPassphrase(o.passphraseFile));
  await within(context, o, async ({ customer, settings, database }) => {
    const at = new Date().toISOString();
    const releases: Release[] = [];
    for (const username of new Set(o.user)) {
      const { recordId } = await heldUser(database, username);
      const word = { customer, site: o.site, username, recordId, operator: o.operator, because: o.because, at };
      releases.push({ ...word, signature: sign(null, Buffer.from(releaseText(word)), key).toString('hex') });
    }
    await releaseUsers(database, settings.operators, releases);
    context.out.answer(
      { released: releases },
      `Let in by ${o.operator}: ${releases.length} users, as their rows stand.`,
    );
    context.out.next('tandem status');
  });
}

async function heldUser(database: Database, username: string): Promise<Quarantined> {
  const [found] = await readQuarantine(database, [username]);
  if (!found) {
    throw new Fault(
      `user ${JSON.stringify(username)}: not in quarantine`,
      '`tandem quarantine list` names those who are.',
    );
  }
  if (found.release)
    throw new Fault(
      `user ${JSON.stringify(username)}: was let in by ${found.release.operator} at ${found.release.at}`,
      'Nothing to do.',
    );
  return found;
}
