import type { Command } from 'commander';
import type { TestVerb } from '../../workflows/model/test-words.ts';
import type { TestStatus } from '../../workflows/model/continuity.ts';
import { failureText } from '../../workflows/model/failures.ts';
import type { Configuration, CustomerConfiguration } from '../config/configuration.ts';
import { Fault } from '../fault.ts';
import { openSigner } from '../signer.ts';
import { runningTests, signTest, tellTest } from '../tests.ts';
import { plain, type Context } from './print.ts';
import { customerOf, openConfiguration, siteOf } from './site.ts';

/** What operators tell a test that runs: each word is signed. */

interface Word {
  customer?: string;
  site?: string;
  run?: string;
  operator: string;
  key: string;
  passphraseFile?: string;
  step?: string;
  because?: string;
}

export function registerWords(group: Command, context: Context): void {
  const verb = (name: TestVerb, about: string): Command =>
    group
      .command(name)
      .description(about)
      .option('--customer <id>', 'needed when there is more than one')
      .option('--site <site>', 'where it runs; needed when tests run at both')
      .option('--run <id>', 'as `tandem test list` shows it; needed when more than one runs')
      .requiredOption('--operator <id>', 'who signs')
      .requiredOption('--key <file>', "the operator's private key, PEM or of OpenSSH")
      .option('--passphrase-file <file>', 'opens an encrypted key (or TANDEM_PASSPHRASE)');
  verb('abort', 'end a test at any step: what it has made is removed, the due date stays')
    .requiredOption('--because <text>', 'kept with the receipt')
    .action((o: Word) => tell(context, 'abort', o));
  verb('confirm', 'say that a step of a tabletop can be done')
    .requiredOption('--step <id>', 'as `tandem test list` shows it')
    .option('--because <text>', 'a note, kept with the receipt')
    .action((o: Word) => tell(context, 'confirm', o));
  verb('finish', 'end a tabletop: what nobody has confirmed is listed')
    .option('--because <text>', 'a note')
    .action((o: Word) => tell(context, 'finish', o));
}

/** Tests that run now, at the sites whose Temporal service answers. */
export async function runningEverywhere(
  configuration: Configuration,
  { id, sites }: CustomerConfiguration,
): Promise<{ running: TestStatus[]; silent: string[] }> {
  const found = await Promise.allSettled(
    sites.map(async (name) => {
      const client = await siteOf(configuration, name).client();
      try {
        return (await runningTests(client, id)).map(({ status }) => ({ ...status, site: status.site || name }));
      } finally {
        await client.connection.close();
      }
    }),
  );
  return {
    running: found.flatMap((f) => (f.status === 'fulfilled' ? f.value : [])),
    silent: found.flatMap((f) => (f.status === 'rejected' ? [failureText(f.reason)] : [])),
  };
}

async function tell(context: Context, verb: TestVerb, o: Word): Promise<void> {
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, o.customer);
  const sign = await openSigner(o.key, o.passphraseFile);
  const { running, silent } = await runningEverywhere(configuration, customer);
  const meant = running.filter(
    ({ run, site }) => (o.run === undefined || run === o.run) && (o.site === undefined || site === o.site),
  );
  const [one] = meant;
  if (!one || meant.length > 1)
    throw new Fault(
      `test of ${customer.id}: ${one ? `${meant.length} run` : 'none runs'}${silent.map((s) => `; ${s}`).join('')}`,
      one
        ? `Name one: ${meant.map(({ run }) => `--run ${run}`).join(' or ')}.`
        : '`tandem test list` shows those there are.',
    );
  const client = await siteOf(configuration, one.site).client();
  try {
    const found = (await runningTests(client, customer.id)).find(({ status }) => status.run === one.run);
    if (!found) throw new Fault(`test ${one.run}: it has just ended`, '`tandem test report` shows how.');
    const { operator, step, because } = o;
    const draft = { verb, operator, ...(step !== undefined && { step }), ...(because !== undefined && { because }) };
    const after = await tellTest(found.handle, await signTest(found.status, draft, sign));
    const open = verb === 'abort' ? [] : after.people.filter(({ confirmedBy }) => confirmedBy === null);
    context.out.answer(after, [
      plain(`Accepted: ${verb} by ${operator}.`),
      ...(verb === 'abort' ? abortLines(after) : []),
      ...open.map(({ id, what }) => plain(`  ${id}: ${what}`)),
    ]);
    const [next] = open;
    context.out.next(
      next && verb === 'confirm'
        ? `tandem test confirm --customer ${customer.id} --step ${next.id} --operator ID --key FILE`
        : verb === 'abort' && after.next
          ? after.next
          : `tandem test report --customer ${customer.id}`,
    );
  } finally {
    await client.connection.close();
  }
}

/** Of a live test the users go home first, whoever brings them. */
const abortLines = ({ kind, because, next, customer }: TestStatus): string[] =>
  kind === 'live' && next
    ? [
        plain(`It ends as soon as its users are home, and no move of theirs is under way: ${because}.`),
        `\`tandem test list --customer ${customer}\` always names the next command.`,
      ]
    : ['It ends as soon as what it is at has let go, and removes what it has made.'];
