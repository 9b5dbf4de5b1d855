import { sign } from 'node:crypto';
import type { Command } from 'commander';
import { Database } from '../../activities/contacts/database.ts';
import { acceptRemovals, removalText } from '../../activities/directory/accept.ts';
import type { Outcome } from '../../activities/directory/apply.ts';
import { followDirectory } from '../../activities/directory/follow.ts';
import {
  directoryState,
  tellHeld,
  tellState,
  type AnswerCounts,
  type DirectoryState,
} from '../../activities/directory/answer.ts';
import { peerAnswer, tellDifference } from '../../activities/directory/differ.ts';
import type { Oddities } from '../../activities/directory/staging.ts';
import { readOperators } from '../../activities/services/operators.ts';
import type { CustomerSettings, DirectorySettings, Operator } from '../../activities/settings.ts';
import { failureText } from '../../workflows/model/failures.ts';
import { scheduleIds } from '../../workflows/model/names.ts';
import { Fault } from '../fault.ts';
import { loadPrivateKey } from '../keys.ts';
import { givenPassphrase } from '../passphrase.ts';
import { exits, type Context } from './print.ts';
import { customerOf, openConfiguration, siteOf } from './site.ts';

interface Where {
  site: string;
  customer?: string;
}

interface AcceptOptions extends Where {
  operator: string;
  key: string;
  because: string;
  digest?: string;
  passphraseFile?: string;
}

const LIMITS = { connections: 2, connectMs: 5000, statementMs: 60_000 };

export function register(program: Command, context: Context): void {
  const group = program.command('directory').description("who has an account, by the customer's own directory");
  const verb = (name: string, about: string): Command =>
    group
      .command(name)
      .description(about)
      .requiredOption('--site <site>', 'which site follows it; each does so by itself')
      .option('--customer <id>', 'needed when there is more than one');
  verb('show', 'the answer in force at a site, how old it is, and one that waits for an operator').action((o: Where) =>
    show(context, o),
  );
  verb('check', 'ask it now, and tell what would come of its answer; nothing is changed').action((o: Where) =>
    check(context, o),
  );
  verb('accept', 'let a held answer disable those whom it would')
    .requiredOption('--operator <id>', 'who signs')
    .requiredOption('--key <file>', "the operator's private key")
    .requiredOption('--because <text>', 'the reason; kept with the signature')
    .option('--digest <hex>', 'of the answer that you saw; refused when another one is held by now')
    .option('--passphrase-file <file>', 'opens an encrypted key (or TANDEM_PASSPHRASE)')
    .action((o: AcceptOptions) => accept(context, o));
}

interface Place {
  customer: string;
  own: CustomerSettings;
  directory: DirectorySettings;
  operators: readonly Operator[];
  database: Database;
  state: DirectoryState | null;
}

async function within<T>(context: Context, o: Where, work: (place: Place) => Promise<T>): Promise<T> {
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, o.customer).id;
  const settings = await siteOf(configuration, o.site).settings();
  const own = settings.customers.get(customer);
  const directory = own?.directory;
  if (!own || !directory)
    throw new Fault(
      `customer ${customer}: has no directory at ${o.site}`,
      'Whoever has a home has an account; `customers.CUSTOMER.directory` changes that.',
    );
  const database = new Database(`database of ${customer} at ${o.site}`, own.databaseUrl, LIMITS);
  try {
    const state = await directoryState(database, customer);
    return await work({ customer, own, directory, operators: settings.operators, database, state });
  } finally {
    await database.close();
  }
}

async function show(context: Context, o: Where): Promise<void> {
  await within(context, o, async ({ customer, own, directory, state }) => {
    const peer = await againstPeer(o.site, own, directory, state, context.signal);
    context.out.answer({ site: o.site, customer, state, peer }, [...linesOf(o.site, state), peer.told]);
    if (!state?.held) return;
    context.out.next(
      `tandem directory accept --site ${o.site} --customer ${customer} --digest ${state.held.digest} --operator ID --key FILE --because "…"`,
    );
    process.exitCode = exits.held;
  });
}

function linesOf(site: string, state: DirectoryState | null): string[] {
  const lines = [`At ${site}: ${tellState(state, Date.now())}.`];
  const counts = state?.counts;
  if (counts) lines.push(...oddLines(counts));
  if (state?.digest)
    lines.push(`Digest of names, homes and keys: ${state.digest} (equal at both sites when they stand alike)`);
  if (state && state.accepted > 0)
    lines.push(`Accepted: ${state.accepted} of those whom the held answer would disable`);
  return lines;
}

/** What is in force here, held against what is at the other site. */
async function againstPeer(
  site: string,
  own: CustomerSettings,
  { everyMs }: DirectorySettings,
  state: DirectoryState | null,
  signal: AbortSignal,
): Promise<{ differs: boolean | null; told: string }> {
  const { peer } = own;
  try {
    const theirs = await peerAnswer(own, signal);
    const pair = [
      [site, state],
      [peer, theirs],
    ] as const;
    const differs = tellDifference(pair, everyMs, Date.now());
    if (differs !== null) return { differs: true, told: `NOT ALIKE: ${differs}.` };
    if (state?.digest == null || theirs?.digest == null)
      return { differs: null, told: `Nothing to compare with ${peer}: one of the two goes by no answer yet.` };
    if (state.digest === theirs.digest) return { differs: false, told: `${peer} goes by the same answer.` };
    return { differs: null, told: `${peer} goes by another answer; one of the two has just changed.` };
  } catch (error) {
    return { differs: null, told: `${peer} cannot be asked by which answer it goes: ${failureText(error)}.` };
  }
}

function oddLines(counts: Oddities & Pick<AnswerCounts, 'withoutAccount'>): string[] {
  const told: [number, string][] = [
    [counts.withoutAccount, 'entitled without keys and without an account: they cannot sign in'],
    [counts.unusableKeys, 'with keys that cannot be used; they keep those they have'],
    [counts.unusableNames, 'entries with a name that the service cannot have'],
    [counts.doubles, 'entries for a user whom another entry names as well'],
    [counts.unknownHomes, 'with a home that is no site; the rule by name holds'],
  ];
  return told.flatMap(([n, what]) => (n === 0 ? [] : [`  ${n} ${what}`]));
}

async function check(context: Context, o: Where): Promise<void> {
  await within(context, o, async ({ customer, own, directory, state }) => {
    context.out.say(`Asking the directory of ${customer} as ${o.site} does …`);
    const { signal } = context;
    const outcome = await followDirectory({ site: o.site, customer: own, settings: directory, signal, dryRun: true });
    const peer = await againstPeer(o.site, own, directory, state, signal);
    context.out.answer({ site: o.site, customer, outcome, peer }, [...wouldCome(outcome), peer.told]);
    if (outcome.state === 'held') process.exitCode = exits.held;
  });
}

function wouldCome(outcome: Outcome): string[] {
  if (outcome.state === 'overtaken') return ['It answers; the follower was quicker, and has a later answer.'];
  if (outcome.state === 'held') return [`It answers, and the answer would be held: ${tellHeld(outcome.held)}.`];
  const { users, enabled, disabled, homes, accounts, ...odd } = outcome.counts;
  const keys = accounts === null ? '' : `, ${accounts} accounts made or given other keys`;
  return [
    `It answers: ${users} users are entitled. ${enabled} would be enabled, ${disabled} disabled, ${homes} given a home${keys}.`,
    ...oddLines(odd),
  ];
}

async function accept(context: Context, o: AcceptOptions): Promise<void> {
  const key = await loadPrivateKey(o.key, await givenPassphrase(o.passphraseFile));
  await within(context, o, async ({ customer, operators, database, state }) => {
    const held = state?.held;
    if (!held) throw new Fault(`directory of ${customer} at ${o.site}: no answer is held`, '`tandem directory show`.');
    if (o.digest !== undefined && o.digest !== held.digest)
      throw new Fault(
        `directory of ${customer} at ${o.site}: another answer is held by now: ${tellHeld(held)}`,
        'Look again: `tandem directory show`.',
      );
    const word = {
      customer,
      site: o.site,
      digest: held.digest,
      removed: held.removed,
      operator: o.operator,
      because: o.because,
      at: new Date().toISOString(),
    };
    const signature = sign(null, Buffer.from(removalText(word)), key).toString('hex');
    const { admitted } = await readOperators(database, operators);
    await acceptRemovals(database, admitted, { ...word, signature });
    context.out.answer(
      { accepted: { ...word, signature } },
      `Accepted by ${o.operator}: ${held.removed} users are disabled at ${o.site} by the next answer.`,
    );
    context.out.say(await lookNow(context, o.site, customer));
    context.out.next(`tandem directory show --site ${o.site} --customer ${customer}`);
  });
}

/** The follower looks by itself; sooner when its site's Temporal can be told. */
async function lookNow(context: Context, site: string, customer: string): Promise<string> {
  try {
    const client = await siteOf(await openConfiguration(context), site).client();
    try {
      await client.schedule.getHandle(scheduleIds.provisioning(customer)).trigger();
      return 'The follower was told to look now.';
    } finally {
      await client.connection.close();
    }
  } catch (error) {
    return `The follower looks with its next turn (${failureText(error)}).`;
  }
}
