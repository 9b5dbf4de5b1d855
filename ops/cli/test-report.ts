import type { Command } from 'commander';
import type { TestEvidence } from '../../activities/journal/judge-test.ts';
import { publicKeysOf } from '../config/settings.ts';
import { fingerprint } from '../evidence.ts';
import { Fault } from '../fault.ts';
import { findReceipts, type FoundReceipt } from '../test-receipts.ts';
import { testReportHtml } from '../test-report-html.ts';
import { writeNew } from './evidence.ts';
import { plain, table, type Context } from './print.ts';
import { customerOf, openConfiguration } from './site.ts';
import { receiptLines } from './test-lines.ts';
import { runningEverywhere } from './test-words.ts';

/** What tests came to: read from the vaults, so that it outlives Temporal's retention. */

interface Report {
  customer?: string;
  run?: string;
  html?: boolean;
  out?: string;
}

export function registerReports(group: Command, context: Context): void {
  group
    .command('list')
    .description('tests that run now, and those that the vaults know, newest first')
    .option('--customer <id>', 'needed when there is more than one')
    .action((o: Report) => list(context, o));
  group
    .command('report')
    .description('the signed receipt of a test, by default of the newest')
    .option('--customer <id>', 'needed when there is more than one')
    .option('--run <id>', 'as `tandem test list` shows it')
    .option('--html', 'as a page to be read by people, in one file')
    .option('--out <file>', 'write the signed evidence into a new file')
    .action((o: Report) => report(context, o));
}

async function list(context: Context, o: Report): Promise<void> {
  const { out } = context;
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, o.customer);
  const [{ running, silent }, found] = await Promise.all([
    runningEverywhere(configuration, customer),
    findReceipts(configuration, customer, context.signal),
  ]);
  for (const text of [...silent, ...found.silent]) out.say(`Not asked: ${text}`);
  const held = found.receipts.map(({ sealed }) => sealed.document).toReversed();
  const rows = [
    ...running.map((s) => [s.run, s.site, s.kind, s.phase, s.startedAt, s.because]),
    ...held.map((r) => [r.run, r.site, r.kind, r.outcome, r.endedAt, r.outcome === 'passed' ? '' : r.because]),
  ];
  const asked = running.flatMap(({ people, customer: of }) =>
    people.filter(({ confirmedBy }) => confirmedBy === null).map((p) => ({ ...p, of })),
  );
  out.answer({ running, held }, [
    ...(rows.length === 0
      ? [`No test of ${customer.id} is known to the vaults that answer, and none runs.`]
      : table([['test', 'at', 'kind', 'state', 'when', ''], ...rows.map((row) => row.map(plain))])),
    ...asked.map(({ id, what }) => plain(`  waits for ${id}: ${what}`)),
  ]);
  const [first] = asked;
  const next = running.find((s) => s.next)?.next;
  if (first) out.next(`tandem test confirm --customer ${first.of} --step ${first.id} --operator ID --key FILE`);
  else out.next(next ?? null);
}

async function report(context: Context, o: Report): Promise<void> {
  const { out } = context;
  if (o.html && context.json())
    throw new Fault('--json: the report is one thing or the other', 'Leave out --html for the object.');
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, o.customer);
  const { receipts, silent } = await findReceipts(configuration, customer, context.signal);
  for (const text of silent) out.say(`A vault does not answer: ${text}`);
  const found = o.run === undefined ? receipts.at(-1) : receipts.find((r) => r.sealed.document.run === o.run);
  if (!found)
    throw new Fault(
      `${o.run === undefined ? 'report' : `test ${JSON.stringify(o.run)}`} of ${customer.id}: none in the vaults that answer`,
      `\`tandem test list --customer ${customer.id}\` shows those there are.`,
    );
  const { document } = found.sealed;
  if (o.out !== undefined) {
    const keys = [...publicKeysOf(configuration)].map(([site, key]) => [site, fingerprint(key)]);
    await writeNew(
      o.out,
      `${JSON.stringify(evidenceOf(found, Object.fromEntries(keys) as Record<string, string>), null, 2)}\n`,
    );
    out.say(`Written: ${o.out} (from vault ${found.from})`);
  }
  if (o.html) out.answer(document, testReportHtml(document));
  else
    out.answer(document, [
      ...receiptLines(document),
      plain(`  signed by ${document.site}, read from vault ${found.from}, ${found.key}`),
    ]);
  if (o.out !== undefined) out.next(`tandem evidence verify ${o.out}`);
}

function evidenceOf({ sealed, from }: FoundReceipt, publicKeys: Record<string, string>): TestEvidence {
  const { customer, site, run } = sealed.document;
  const exportedAt = new Date().toISOString();
  return {
    format: 1,
    kind: 'continuity-test',
    customer,
    site,
    run,
    readFrom: from,
    exportedAt,
    publicKeys,
    receipt: sealed,
  };
}
