import { agreed, approvalOf, refuse, type Approval, type SignedVerb } from '../../workflows/model/approvals.ts';
import { standsAlone, type BreakGlass } from '../../workflows/model/break-glass.ts';
import { canonicalJson, type Decisions } from '../../workflows/model/plan.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import { agreedToTurnBack, turnBackStep, turnedBackBy, type TurnBack } from '../../workflows/model/turn-back.ts';
import { sha256, type Signed } from '../vault/signed.ts';
import type { JournalLine } from './chain.ts';
import { Mismatch } from './mismatch.ts';
import { judgeLedger, type LedgerPart } from './recovery.ts';

/** Whether what people signed, and what was done, is in the order that a failover promises. Each reads a whole journal. */

/** Nobody is moved by fewer, whatever a plan says of itself. */
const LEAST_APPROVALS = 2;

interface Planned {
  digest: string;
  decisions: Decisions;
}

const planOf = (line: JournalLine): Planned => line.body as unknown as Planned;
const phaseOf = (line: JournalLine | undefined): unknown => (line?.kind === 'phase' ? line.body['phase'] : null);

/** The plan that stood when a line was written; null before the first. */
function planAt(lines: readonly JournalLine[], seq: number): Planned | null {
  const line = lines.findLast((l) => l.kind === 'planned' && l.seq < seq);
  return line ? planOf(line) : null;
}

export function plansSeen({ customer }: { customer: string }, lines: readonly JournalLine[]): string {
  const plans = lines.filter((l) => l.kind === 'planned');
  for (const line of plans) {
    const { digest, decisions } = planOf(line);
    const real = sha256(canonicalJson(decisions));
    if (real !== digest)
      throw new Mismatch(`line ${line.seq}: the plan's digest is ${digest}, its decisions give ${real}`);
    if (decisions.customer !== customer) throw new Mismatch(`line ${line.seq}: the plan is for ${decisions.customer}`);
  }
  const closing = lines.at(-1);
  const told =
    closing?.kind === 'closed' ? (closing.body['report'] as { planDigest: string | null }).planDigest : undefined;
  const last = plans.at(-1);
  const digest = last ? planOf(last).digest : null;
  if (told !== undefined && told !== digest)
    throw new Mismatch(`the report names plan ${String(told)}, the last one of the journal is ${String(digest)}`);
  return digest === null ? 'none was made' : `${digest}: the SHA-256 of its decisions`;
}

/** Judged by the very rule by which the run accepted them, at the time of their line. */
export function operatorsSeen(
  { customer, move }: { customer: string; move: string },
  lines: readonly JournalLine[],
): string {
  const usedNonces = new Set<string>();
  const told: string[] = [];
  for (const line of lines.filter((l) => l.kind === 'signed')) {
    const verb = line.body as unknown as SignedVerb;
    const plan = planAt(lines, line.seq);
    if (!plan) throw new Mismatch(`line ${line.seq}: ${verb.operator} signed ${verb.verb} before there was a plan`);
    const { epoch, approvers, acceptances = [] } = plan.decisions;
    const at = { customer, move, epoch, digest: plan.digest };
    const claim = { ...at, approvers, acceptances, usedNonces, now: Date.parse(line.at) };
    const why = refuse(claim, verb);
    if (why !== null) throw new Mismatch(`line ${line.seq}: ${why}`);
    usedNonces.add(verb.nonce);
    told.push(`${verb.verb} by ${verb.operator}`);
  }
  return told.length === 0 ? 'nobody signed anything' : `${told.join(', ')}: every signature holds`;
}

/** At the beginning of every walk, by the signatures that lived then, over the plan that stood then. */
export function approvalsSeen(lines: readonly JournalLine[]): string {
  const phases = lines.filter((l) => phaseOf(l) !== null);
  // A run that took the move over goes on with the same walk.
  const walks = phases.filter((l, i) => phaseOf(l) === 'moving' && phaseOf(phases[i - 1]) !== 'moving');
  const told = walks.map((walk) => approvedBy(lines, walk));
  return told[0] ?? 'no step was begun, so none was needed';
}

const named = (a: Approval): string => `${a.operator}${a.commander ? ' (commander)' : ''}`;

/** By whom one walk was approved; throws when by too few. */
function approvedBy(lines: readonly JournalLine[], walk: JournalLine): string {
  const plan = planAt(lines, walk.seq);
  if (!plan) throw new Mismatch(`line ${walk.seq}: the steps began without a plan`);
  const at = Date.parse(walk.at);
  const before = lines.slice(0, lines.indexOf(walk));
  const { approvals, glass } = signedFor(plan, before);
  const needed = Math.max(LEAST_APPROVALS, plan.decisions.approvalsNeeded);
  if (agreed(approvals, needed, at)) return `${approvals.map(named).join(', ')}, before the first step at ${walk.at}`;
  if (standsAlone(glass, approvals, at) && glass)
    return `${glass.operator} ALONE, by break-glass: paged by ${glass.sent.join(', ')} at ${new Date(glass.pagedAt ?? 0).toISOString()}, stopped by nobody before the first step at ${walk.at}`;
  const who = approvals.filter((a) => a.expiresAt > at).map(named);
  throw new Mismatch(
    `line ${walk.seq}: the steps began with the approval of ${who.join(', ') || 'nobody'}; it takes ${needed} operators, a commander among them${whyNotAlone(before, glass)}`,
  );
}

function whyNotAlone(before: readonly JournalLine[], glass: BreakGlass | null): string {
  if (!before.some((l) => l.kind === 'signed' && l.body['breakGlass'] === true)) return '';
  const asked = ', or one whose break-glass was paged and stood for 10 minutes';
  if (glass === null || glass.pagedAt === null) return `${asked}: nobody was paged for this plan`;
  return glass.stoppedBy === null ? asked : `${asked}: ${glass.stoppedBy} stopped it`;
}

/** What was signed for a plan, and not voided since: by another plan between, or by a world that got worse. */
function signedFor(
  { digest, decisions }: Planned,
  before: readonly JournalLine[],
): { approvals: Approval[]; glass: BreakGlass | null } {
  const byOperator = new Map<string, Approval>();
  let glass: BreakGlass | null = null;
  let stoppedBy: string | null = null;
  let walked = false;
  for (const line of before) {
    const phase = phaseOf(line);
    const voided = (line.kind === 'planned' && planOf(line).digest !== digest) || (phase === 'planning' && walked);
    if (voided) {
      byOperator.clear();
      glass = null;
    }
    if (phase !== null) walked = phase === 'moving';
    if (line.kind === 'break-glass') glass = pagedIn(line, glass);
    const verb = line.body as unknown as SignedVerb;
    if (line.kind !== 'signed') continue;
    if (verb.verb === 'veto') stoppedBy ??= verb.operator;
    if (verb.verb !== 'approve' || verb.digest !== digest) continue;
    byOperator.set(verb.operator, approvalOf(decisions.approvers, verb, Date.parse(line.at)));
    const { operator, because = '', nonce } = verb;
    if (verb.breakGlass) glass = { operator, because, digest, nonce, pagedAt: null, sent: [], stoppedBy: null };
  }
  return { approvals: [...byOperator.values()], glass: glass && { ...glass, stoppedBy } };
}

/** A page that some channel took, for the very word that was signed. */
function pagedIn({ at, body }: JournalLine, glass: BreakGlass | null): BreakGlass | null {
  const { state, nonce, sent } = body as { state: string; nonce: string; sent: string[] };
  const paged = glass !== null && state === 'paged' && nonce === glass.nonce && sent.length > 0;
  return paged ? { ...glass, sent, pagedAt: Date.parse(at) } : glass;
}

export function effectsSeen(lines: readonly JournalLine[]): string {
  const began = lines.find((l) => phaseOf(l) === 'moving');
  const steps = lines.filter((l) => l.kind === 'step');
  const early = steps.find((l) => !began || l.seq < began.seq);
  if (early) throw new Mismatch(`line ${early.seq} (${early.key}) comes before the approval`);
  const back = steps.find((l) => l.body['step'] === turnBackStep.id && !agreedBefore(lines, l.seq));
  if (back)
    throw new Mismatch(`line ${back.seq} (${back.key}): it was turned back before two operators had signed that`);
  return steps.length === 0 ? 'none' : `${steps.length} lines of steps, all after the approval`;
}

function agreedBefore(lines: readonly JournalLine[], seq: number): boolean {
  const asked = lines
    .filter((l) => l.kind === 'signed' && l.seq < seq && l.body['verb'] === 'turn-back')
    .reduce<TurnBack | null>((before, { body }) => turnedBackBy(before, String(body['operator']), ''), null);
  return agreedToTurnBack(asked, planAt(lines, seq)?.decisions.approvers ?? []);
}

/** Every ledger that an effect names is there, whole and unchanged, and no other. */
export function ledgersSeen(
  {
    customer,
    move,
    site,
    ledger = [],
  }: { customer: string; move: string; site: string; ledger?: Signed<LedgerPart>[] },
  lines: readonly JournalLine[],
): string {
  const parts = ledger.map((s) => s.document);
  const stray = parts.find((p) => p.customer !== customer || p.move !== move || p.site !== site);
  if (stray) throw new Mismatch(`a part is of move ${stray.move} of ${stray.customer} at ${stray.site}`);
  const wanted = new Set(ledgersNamed(lines));
  if (parts.some((p) => !wanted.has(p.ledger))) throw new Mismatch('a ledger is there that no line names');
  const told = [...wanted].map((digest) => {
    const { head } = judgeLedger(digest, parts);
    const counts = Object.entries(head.fates).flatMap(([fate, n]) => (n > 0 ? [`${n} ${fate}`] : []));
    return `${head.users} users of ${head.from}: ${counts.join(', ') || 'nobody'}, by the snapshot of ${head.point}`;
  });
  return told.length === 0 ? 'none was kept' : told.join('; ');
}

/** Digests of the recovery ledgers that effects have left, in their order. */
export function ledgersNamed(lines: readonly JournalLine[]): string[] {
  return lines.flatMap(({ kind, body }) => {
    const digest = kind === 'step' ? (body['result'] as StepResult | undefined)?.facts['ledger'] : undefined;
    return typeof digest === 'string' ? [digest] : [];
  });
}
