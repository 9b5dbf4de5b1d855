import type { Command } from 'commander';
import type { JournalLine } from '../../activities/journal/chain.ts';
import { readReport, readSealed } from '../../activities/journal/read.ts';
import { failureText } from '../../workflows/model/failures.ts';
import { moveName, type FailoverReport, type MoveInput, type MoveName } from '../../workflows/model/moves.ts';
import { duration } from '../../workflows/model/rto.ts';
import { Fault } from '../fault.ts';
import { openJournals, readFirst, type FoundMove, type Journals } from '../journals.ts';
import { reportHtml, reportNotice } from '../report-html.ts';
import { begun, notBegun, subscriptions, unreachable, wasRefused } from '../report-words.ts';
import { plain, table, type Context } from './print.ts';
import { customerOf, openConfiguration } from './site.ts';
import { tellUser } from './report-user.ts';
import { unsealedMoves, type UnsealedMove } from './unsealed.ts';

/** What the vaults tell of moves: it outlives Temporal's retention, and is the same on every machine. */

interface Where {
  customer?: string;
  site?: string;
}

interface Report extends Where {
  move?: string;
  html?: boolean;
  notice?: boolean;
  user?: string;
}

export function registerReports(group: Command, context: Context, name: MoveName): void {
  const verb = (word: string, about: string): Command =>
    group
      .command(word)
      .description(about)
      .option('--customer <id>', 'needed when there is more than one')
      .option('--site <site>', 'read this vault only (default: both, each move’s own first)');
  verb('list', 'all moves that the vaults know, newest first').action((o: Where) => list(context, o));
  const told = verb('report', `the report of a ${name}, by default of the newest that has ended`)
    .option('--move <id>', `as \`tandem ${name} list\` shows it`)
    .option('--html', 'as a page to be read by people, in one file')
    .option('--notice', 'as a notice to the customer, plain text')
    .action((o: Report) => report(context, name, o));
  // What is planned restores nobody from a copy; who was brought together, `reconciled` tells.
  if (name === 'failover') told.option('--user <name>', 'what this user of the lost half got, instead of the report');
}

/** A move, with its report when it has one. */
interface Known {
  move: string;
  site: string;
  /** Whose vault told it. */
  from: string | null;
  report: FailoverReport | null;
  /** Why no vault holds the evidence of this move yet, which has ended; null when one does. */
  notSealed: string | null;
  /** Of a move without a report. */
  last: { name: MoveName; at: string; phase: string; lines: number } | null;
  fault: string | null;
}

async function withJournals<T>(
  context: Context,
  where: Where,
  work: (journals: Journals, customer: string, unsealed: UnsealedMove[]) => Promise<T>,
): Promise<T> {
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, where.customer);
  const unsealed = await unsealedMoves(configuration, customer);
  const journals = await openJournals(configuration, customer, { site: where.site, signal: context.signal }).catch(
    (error: unknown): Journals => {
      // With all vaults away, the database still tells of a move that has just ended.
      if (unsealed.length === 0) throw error;
      return { moves: [], silent: [failureText(error)], close: () => undefined };
    },
  );
  try {
    for (const text of journals.silent) context.out.say(`A vault does not answer: ${text}`);
    return await work(journals, customer.id, unsealed);
  } finally {
    journals.close();
  }
}

/** All moves that the vaults know, and those that only a database does. */
async function allKnown(moves: FoundMove[], unsealed: UnsealedMove[]): Promise<Known[]> {
  const isOpen = (k: { move: string; site: string }): UnsealedMove | undefined =>
    unsealed.find((u) => u.move === k.move && u.site === k.site);
  const sealed = await Promise.all(moves.filter((m) => !isOpen(m)).map(knownOf));
  const told = unsealed.map(({ move, site, report: found, because }) => ({
    move,
    site,
    from: null,
    last: null,
    fault: null,
    report: found,
    notSealed: because,
  }));
  return [...sealed, ...told];
}

async function knownOf(found: FoundMove): Promise<Known> {
  const { move, site } = found;
  const nothing = { move, site, from: null, report: null, notSealed: null, last: null, fault: null };
  try {
    const { value, from } = await readFirst(found, readReport);
    if (value) return { ...nothing, from, report: value.document };
    const { value: sealed } = await readFirst(found, readSealed);
    const lines = sealed.segments.flatMap((s) => s.document.lines);
    const phase = lines.findLast((l) => l.kind === 'phase')?.body['phase'];
    const last = lines.at(-1);
    return {
      ...nothing,
      from,
      last: last
        ? { name: nameOf(lines), at: last.at, phase: typeof phase === 'string' ? phase : 'declared', lines: last.seq }
        : null,
    };
  } catch (error) {
    return { ...nothing, fault: failureText(error) };
  }
}

/** By what was asked for. */
function nameOf(lines: readonly JournalLine[]): MoveName {
  const { half, to } = (lines.find((l) => l.kind === 'declared')?.body ?? {}) as Partial<MoveInput>;
  return to === undefined ? 'failover' : moveName('relocate', { to, ...(half !== undefined && { half }) });
}

const timeOf = (k: Known): string => k.report?.endedAt ?? k.last?.at ?? '';

async function list(context: Context, where: Where): Promise<void> {
  await withJournals(context, where, async ({ moves }, customer, unsealed) => {
    const known = (await allKnown(moves, unsealed)).toSorted((a, b) => timeOf(b).localeCompare(timeOf(a)));
    const rows = known.map((k) => [
      k.move,
      k.report ? (k.report.kind ?? 'failover') : (k.last?.name ?? '-'),
      k.site,
      ...(k.report ? ended(k.report, k.notSealed) : open(k)),
    ]);
    context.out.answer(
      known,
      rows.length === 0
        ? `No move of ${customer} is known to the vaults.`
        : table([
            ['move', 'kind', 'at', 'outcome', 'when', 'from', 'time', 'lost'],
            ...rows.map((row) => row.map(plain)),
          ]),
    );
  });
}

/** What could not even be planned has ended without having begun. */
const outcomeOf = (r: FailoverReport): string => (wasRefused(r) ? 'refused' : r.outcome);

const ended = (r: FailoverReport, notSealed: string | null): string[] => [
  notSealed === null ? outcomeOf(r) : `${outcomeOf(r)} (evidence: not sealed yet)`,
  r.endedAt,
  r.from,
  r.rtoMs === null ? '-' : duration(r.rtoMs),
  r.recoveryPointAgeMs === null ? '-' : duration(r.recoveryPointAgeMs),
];

const open = ({ last, fault }: Known): string[] =>
  fault === null ? [`not closed (${last?.phase ?? 'no lines'})`, last?.at ?? '-'] : [`cannot be read: ${fault}`, '-'];

async function report(context: Context, name: MoveName, o: Report): Promise<void> {
  if ((o.html || o.notice) && context.json())
    throw new Fault('--json: the report is one thing or the other', 'Leave out --html and --notice for the object.');
  if (o.html && o.notice) throw new Fault('--html and --notice: only one of them', 'Give the command twice.');
  await withJournals(context, o, async ({ moves }, customer, unsealed) => {
    const all = await allKnown(moves, unsealed);
    const known = chosen(all, { customer, name, named: o.move });
    for (const { move, last } of o.move === undefined ? all.filter((k) => k.last !== null) : [])
      context.out.say(
        `This is of a move that has ended. Move ${move} has not (${last?.phase}): \`tandem ${last?.name} watch --customer ${customer}\`.`,
      );
    const { report: found } = known;
    const { user } = o;
    const kept = moves.find((m) => m.move === known.move && m.site === known.site);
    if (user !== undefined) await tellUser(context, { customer, found: kept, report: found, user });
    else if (o.html) context.out.answer(found, reportHtml(found));
    else if (o.notice) context.out.answer(found, reportNotice(found));
    else context.out.answer(found, screen(found, known));
  });
}

/** By its id, whatever it is; else the newest that people call so. */
function chosen(
  all: Known[],
  { customer, name, named }: { customer: string; name: MoveName; named: string | undefined },
): Known & { report: FailoverReport } {
  const known = all.filter((k) => (named === undefined ? (k.report?.kind ?? 'failover') === name : k.move === named));
  const closed = known.flatMap((k) => (k.report ? [{ ...k, report: k.report }] : []));
  const sorted = closed.toSorted((a, b) => a.report.endedAt.localeCompare(b.report.endedAt));
  const newest = sorted.findLast((k) => !wasRefused(k.report)) ?? sorted.at(-1);
  if (newest) return newest;
  const [first] = known;
  const next = `\`tandem ${name} list --customer ${customer}\` shows all; \`tandem ${name} watch --customer ${customer}\` one that still runs.`;
  if (named !== undefined && first)
    throw new Fault(
      `move ${named} of ${customer}: ${first.fault ?? `has not been closed; it is ${first.last?.phase ?? 'without lines'}`}`,
      next,
    );
  const what = named === undefined ? `report of ${customer}` : `move ${JSON.stringify(named)} of ${customer}`;
  const faults = known.flatMap((k) => k.fault ?? []);
  throw new Fault(`${what}: none in the vaults that answer${faults.map((f) => `; ${f}`).join('')}`, next);
}

function screen(found: FailoverReport, { site, from, notSealed }: Known): string[] {
  const planned = found.kind !== undefined;
  return [
    `${found.customer}: ${planned ? `${found.kind}, ` : ''}${found.from} → ${found.to === '' ? '-' : found.to}, ${outcomeOf(found)}`,
    planned
      ? `  asked for ${found.declaredAt} by ${found.requestedBy}: ${found.reason}`
      : `  lost at ${found.disruptedAt}, declared ${found.declaredAt} by ${found.requestedBy}: ${found.reason}`,
    `  ${approvedBy(found)}`,
    ...(found.breakGlass
      ? [
          `  BREAK-GLASS by ${found.breakGlass.operator}${found.breakGlass.counted ? ', ALONE' : ''}: ${found.breakGlass.because}${found.breakGlass.stoppedBy === null ? '' : `; stopped by ${found.breakGlass.stoppedBy}`}`,
        ]
      : []),
    ...(planned ? [`  ${unreachable(found)}`] : lossOf(found)),
    ...begun(found).map((s) => `  ${s.id}: ${s.state}${s.summary === '' ? '' : ` ${s.summary}`}`),
    ...notBegun(found).map((ids) => `  not begun: ${ids}`),
    ...(found.claims ?? [])
      .filter((c) => !c.claimed)
      .map(
        (c) => `  the ${c.store} does not hold the claim of epoch ${found.epoch}: ${c.because ?? 'it was not asked'}`,
      ),
    ...found.alarms.map((a) => `  alarm ${a.at}: ${a.text}`),
    ...found.notes.map((n) => `  note of ${n.by}, ${n.at}: ${n.text}`),
    ...found.notTested.map((n) => `  not tested: ${n}`),
    `  evidence: ${notSealed === null ? '' : `not sealed yet: ${notSealed}; `}move ${found.move}, journal head ${found.journalHead}, ${notSealed === null ? `signed by ${site}, read from vault ${from}` : `read from the database of ${site}`}`,
  ].map(plain);
}

function approvedBy({ approvedAt, approvals }: FailoverReport): string {
  const who = approvals.map((a) => a.operator).join(', ');
  if (approvedAt !== null) return `approved ${approvedAt} by ${who || 'nobody'}`;
  return who === '' ? 'not approved' : `not approved; signed by ${who}`;
}

const lossOf = (found: FailoverReport): string[] => [
  found.recoveryPoint === null
    ? '  recovery point: none'
    : `  recovery point ${found.recoveryPoint}, ${duration(found.recoveryPointAgeMs ?? 0)} before the loss`,
  `  restored ${found.restored?.users ?? 0} users, ${found.restored?.contacts ?? 0} contacts, ${found.restored?.aclItems ?? 0} ACL items; ${found.mismatches === null ? 'rows were not compared' : `${found.mismatches} rows differ`}`,
  ...subscriptions(found).map(([, told]) => `  subscriptions: ${told}`),
  `  RTO ${found.rtoMs === null ? 'not reached' : duration(found.rtoMs)} of ${found.rtoPromiseMs === null ? '-' : duration(found.rtoPromiseMs)}`,
];
