import type { KeyObject } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { judgeEvidence, type Evidence, type Verdict } from '../../activities/journal/evidence.ts';
import { judgeTest } from '../../activities/journal/judge-test.ts';
import { readSealed } from '../../activities/journal/read.ts';
import { publicKeysOf } from '../config/settings.ts';
import { fingerprint, publicKeysFrom, readEvidence, readTestEvidence } from '../evidence.ts';
import { Fault } from '../fault.ts';
import { openJournals, readFirst } from '../journals.ts';
import { counted, exits, plain, type Context } from './print.ts';
import { customerOf, openConfiguration } from './site.ts';

export function register(program: Command, context: Context): void {
  const group = program.command('evidence').description('what a move did, as its survivor has signed it');
  group
    .command('export')
    .description('write the evidence of a move from a vault into one file')
    .requiredOption('--move <id>', 'as `tandem failover list` shows it')
    .requiredOption('--out <file>', 'a new file')
    .option('--customer <id>', 'needed when there is more than one')
    .option('--site <site>', 'read this vault only (default: the survivor’s, else its peer’s copy)')
    .action((o: Export) => exportEvidence(context, o));
  group
    .command('verify')
    .description(
      'check the evidence of a move or a test without network or database: signatures, chain, plan, approvals, report',
    )
    .argument('<path>', 'the file, or a folder with a move’s objects as a vault holds them')
    .option('--public-key <file>', 'trust these keys of sites, OpenSSH lines, instead of the configuration’s')
    .action((path: string, o: { publicKey?: string }) => verify(context, path, o.publicKey));
}

interface Export {
  move: string;
  out: string;
  customer?: string;
  site?: string;
}

async function exportEvidence(context: Context, o: Export): Promise<void> {
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, o.customer);
  const { site, move } = o;
  const journals = await openJournals(configuration, customer, { site, signal: context.signal });
  try {
    const found = journals.moves.find((m) => m.move === move);
    if (!found)
      throw new Fault(
        `move ${JSON.stringify(move)} of ${customer.id}: no vault that answers has it`,
        `\`tandem failover list --customer ${customer.id}\` shows those there are.${journals.silent.map((s) => ` (${s})`).join('')}`,
      );
    const { value, from } = await readFirst(found, readSealed);
    const evidence: Evidence = {
      format: 1,
      customer: customer.id,
      move,
      site: found.site,
      readFrom: from,
      exportedAt: new Date().toISOString(),
      publicKeys: Object.fromEntries([...publicKeysOf(configuration)].map(([name, key]) => [name, fingerprint(key)])),
      ...value,
    };
    await writeNew(o.out, `${JSON.stringify(evidence, null, 2)}\n`);
    const parts = `${counted(value.segments.length, 'segment')}, ${value.report ? 'a report' : 'no report: it has not been closed'}`;
    context.out.answer(
      { file: o.out, move, site: found.site, readFrom: from },
      `Written: ${o.out} (${parts}, from vault ${from})`,
    );
    context.out.next(`tandem evidence verify ${o.out}`);
  } finally {
    journals.close();
  }
}

/** Evidence is never written over. */
export async function writeNew(path: string, text: string): Promise<void> {
  try {
    await writeFile(path, text, { flag: 'wx', mode: 0o600 });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Fault(
      `${path}: ${code === 'EEXIST' ? 'is there already' : `cannot be written (${code ?? String(error)})`}`,
      'Name a new file in a folder that you may write.',
    );
  }
}

async function verify(context: Context, path: string, keyFile: string | undefined): Promise<void> {
  const keysFor = async (site: string): Promise<ReadonlyMap<string, KeyObject>> =>
    keyFile === undefined ? publicKeysOf(await openConfiguration(context)) : publicKeysFrom(keyFile, site);
  const test = await readTestEvidence(path);
  if (test) {
    const { evidence, seen } = test;
    const { customer, run, site } = evidence;
    const checks = [{ check: 'file', ok: true, seen }, ...judgeTest(evidence, await keysFor(site), fingerprint)];
    tell(context, { path, customer, run, site }, `test ${run} of ${customer}, held at ${site}`, checks);
    return;
  }
  const { evidence, seen } = await readEvidence(path);
  const checks: Verdict[] = [{ check: 'file', ok: evidence !== null, seen }];
  if (evidence) checks.push(...judgeEvidence(evidence, await keysFor(evidence.site), fingerprint));
  const { customer = null, move = null, site = null } = evidence ?? {};
  const of = move === null ? path : `move ${move} of ${customer}, journal of ${site}`;
  tell(context, { path, customer, move, site }, of, checks);
}

function tell({ out }: Context, about: object, of: string, checks: Verdict[]): void {
  const failed = checks.filter((c) => !c.ok).map((c) => c.check);
  const verdict = failed.length === 0 ? 'holds' : `DOES NOT HOLD: ${failed.join(', ')}`;
  out.answer({ ...about, holds: failed.length === 0, checks }, [
    plain(of),
    ...checks.map((c) => `  ${c.ok ? 'ok    ' : 'FAILED'}  ${c.check.padEnd(10)}  ${plain(c.seen)}`),
    `Verdict: the evidence ${verdict}.`,
  ]);
  if (failed.length > 0) process.exitCode = exits.failed;
}
