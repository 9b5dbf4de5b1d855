import { moveCommand, type FailoverStatus, type StepReport } from '../model/moves.ts';
import type { Isolation } from '../model/plan.ts';
import { endPhases } from '../model/phases.ts';
import { clockWords } from '../model/clock.ts';
import { whereToLook } from '../model/forecast.ts';
import { blockedLines, heldLines, paceLines, readout, serviceLines, whoMoves } from '../model/readout.ts';
import { duration } from '../model/rto.ts';

type Shown = Omit<FailoverStatus, 'waitsFor' | 'next'>;

/** One sentence: what the run waits for, in the words of the person it waits for. */
export function waitsFor(s: Shown): string {
  const half = s.phase === 'moving' && s.turnBack ? s.turnBack.operators : [];
  const asked = half.length > 0 ? `; ${half.join(', ')} signed turn-back, another operator must` : '';
  return `${awaited(s)}${asked}`;
}

function awaited(s: Shown): string {
  const held = s.steps.filter((step) => step.state === 'held');
  if (held.length > 0) return `an operator: ${held.map((h) => heldText(s, h)).join('; ')}`;
  if (s.paused && !endPhases.includes(s.phase))
    return `a resume: ${s.paused.by} paused it at ${s.paused.at}${s.paused.because === '' ? '' : `, ${s.paused.because}`}`;
  switch (s.phase) {
    case 'declared':
      return `the slot of the customer in the database of ${s.kind ? s.from : 'the survivor'}`;
    case 'planning':
      return `the plan: observers of ${s.kind ? (s.to ?? 'the destination') : 'the lost site'} answer or time out`;
    case 'approving':
      return approving(s);
    case 'moving':
    case 'turning-back':
    case 'verifying': {
      const running = s.steps.filter((step) => step.state === 'running');
      const told = running.map(({ id, act, stuckAt }) => (stuckAt ? `${id} (STUCK: look at ${whereToLook[act]})` : id));
      return told.length > 0 ? `${told.length > 1 ? 'steps' : 'step'} ${told.join(', ')}` : 'the next step';
    }
    case 'closed':
    case 'closed-with-gaps':
    case 'aborted':
    case 'turned-back':
    case 'superseded':
      return s.notSealed
        ? `the vault of ${s.to ?? 'this site'}, for the evidence: ${s.notSealed}; the move itself has ended`
        : 'nothing: it has ended';
    default:
      return s.phase satisfies never;
  }
}

function heldText({ motions }: Shown, step: StepReport): string {
  const asked = motions.filter((m) => m.step === step.id);
  const half = asked.map((m) => `; ${m.operators.join(', ')} signed ${m.answer}, another operator must`).join('');
  return `step ${step.id} is held: ${step.summary}${half}`;
}

function approving(s: Shown): string {
  const blockers = s.plan?.blockers ?? [];
  if (blockers.length > 0) {
    return `a plan that can be approved: ${blockers.map((b) => b.text).join('; ')}`;
  }
  const needed = s.plan?.decisions.approvalsNeeded ?? 2;
  const have = s.approvals.map((a) => `${a.operator} until ${a.expiresAt.slice(11, 16)} UTC`);
  const approvers = s.plan?.decisions.approvers ?? [];
  const commanders = new Set(approvers.filter((a) => a.roles.includes('commander')).map((a) => a.id));
  const glass = s.breakGlass;
  if (glass?.countsAt)
    return `${glass.countsAt.slice(11, 19)} UTC, when ${glass.operator} ALONE approves by break-glass, unless an approver stops it (veto) or a second one signs`;
  if (have.length >= needed) return 'the steps to begin';
  const commander = s.approvals.some((a) => commanders.has(a.operator)) ? '' : ', one of them a commander';
  const signed = have.length > 0 ? `signed: ${have.join(', ')}; ` : '';
  const others = approvers.filter(
    ({ id, roles }) =>
      !s.approvals.some((a) => a.operator === id) && roles.some((r) => r === 'approve' || r === 'commander'),
  );
  const may = others.map(({ id }) => (commanders.has(id) ? `${id}, a commander` : id)).join('; ');
  return `${needed - have.length} of ${needed} signatures${commander} (${signed}may sign: ${may || 'nobody else'})`;
}

/** The exact command that helps the run on. */
export function nextCommand(s: Shown): string | null {
  const held = s.steps.find((step) => step.state === 'held');
  if (held) {
    const [half] = s.motions.filter((m) => m.step === held.id);
    const answer = half?.answer ?? (held.act === 'wait-for-operator' ? 'done' : 'retry');
    return `${moveCommand(s, answer)} --step ${held.id} --operator ID --key FILE --because TEXT`;
  }
  if (s.paused && !endPhases.includes(s.phase)) return `${moveCommand(s, 'resume')} --operator ID --key FILE`;
  if (s.notSealed) return 'tandem doctor';
  if (turnsBack(s)) return `${moveCommand(s, 'turn-back')} --operator ID --key FILE --because TEXT`;
  if (s.phase !== 'approving') return null;
  if (s.plan && s.plan.blockers.length > 0) return `${moveCommand(s, 'abort')} --operator ID --key FILE --because TEXT`;
  const accepts = (s.plan?.decisions.acceptances ?? []).map((text) => ` --accept ${JSON.stringify(text)}`).join('');
  return `${moveCommand(s, 'approve')} --operator ID --key FILE${accepts}`;
}

/** One has signed that, and a second can still. */
const turnsBack = ({ phase, turnBack, steps }: Shown): boolean =>
  phase === 'moving' &&
  (turnBack?.operators.length ?? 0) > 0 &&
  steps.every((s) => s.act !== 'serve-users' || s.state === 'waiting');

function glassLines(s: Shown): string[] {
  const { breakGlass: glass } = s;
  if (!glass) return [];
  const told = `**BREAK-GLASS by ${glass.operator}**: ${glass.because}`;
  if (glass.stoppedBy !== null) return ['', `${told}; stopped by ${glass.stoppedBy}: two must sign.`];
  if (!glass.countsAt) return ['', `${told}; everybody is being paged.`];
  return [
    '',
    `${told}; paged by ${glass.sent.join(', ')}; counts alone from ${glass.countsAt} on.`,
    '',
    `Stop it: \`${moveCommand(s, 'veto')} --operator ID --key FILE --because TEXT\``,
  ];
}

/**
 * What Temporal UI shows of the run, as markdown: phase, clock, what is held and what to do come first, because the page cuts
 * what is longer than its box. The plan and the steps follow.
 */
export function details(s: FailoverStatus): string {
  const { plan, steps } = s;
  const lines = [
    `### ${s.customer}: ${occasion(s)} — ${s.phase}${standing(s)}`,
    '',
    `${sentence(s.because)} **Waits for ${s.waitsFor}.**`,
    '',
    ...(s.next ? [`**Next:** \`${s.next}\``, ''] : endPhases.includes(s.phase) ? [] : [NOTHING_ASKED, '']),
    ...[...blockedLines(s), ...heldLines(s)].flatMap((line) => [line, '']),
    ...clockLines(s),
    ...glassLines(s),
    ...(s.owner ? ['', `In the hands of ${s.owner}.`] : []),
  ];
  if (s.alarms.length > 0) lines.push('', ...s.alarms.slice(-LAST).map((a) => `- Alarm ${moment(a.at)}: ${a.text}`));
  if (plan) {
    lines.push(
      '',
      '| step | act | state | |',
      '| --- | --- | --- | --- |',
      ...steps.map(
        (step) => `| \`${step.id}\` | ${step.act} | ${state(step)} | ${step.summary.replaceAll('|', '/')} |`,
      ),
      '',
      ...serviceLines(s).map((line) => `- ${line}`),
      `- Plan \`${plan.digest}\`, epoch ${plan.decisions.epoch}: ${plan.decisions.users} users move to ${plan.decisions.to}.`,
      ...(plan.decisions.planned ? [] : [isolationLine(plan.decisions.isolation)]),
      ...readout(plan, s.phase).map((line) => `- ${line}`),
    );
  }
  if (s.notes.length > 0) lines.push('', ...s.notes.map((n) => `- Note ${moment(n.at)}, ${n.by}: ${n.text}`));
  if (s.unsent.length > 0)
    lines.push('', ...s.unsent.map((u) => `- Page not sent ${moment(u.at)}, ${u.channel}: ${u.because}`));
  return lines.join('\n');
}

const occasion = (s: Shown): string =>
  s.kind ? `${s.kind}: users of ${whoMoves(s)}, from ${s.from} to ${s.to}` : `${s.from} is lost`;

const isolationLine = ({ statement, observers }: Isolation): string =>
  `- Isolation: ${statement ?? 'not stated'} (${observers.map((o) => `${o.name} ${o.saw}`).join(', ')}).`;

const NOTHING_ASKED = '**Next:** nothing is asked of anybody now.';

/** Of the alarms, as many as leave the rest of the page in sight; the journal has all. */
const LAST = 5;

const moment = (at: string): string => `${at.slice(0, 16).replace('T', ' ')} UTC`;

const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;

const state = ({ state: of }: StepReport): string =>
  of === 'held' || of === 'failed' ? `**${of.toUpperCase()}**` : of === 'running' ? `**${of}**` : of;

function standing({ steps, paused }: Shown): string {
  const ids = steps.filter((step) => step.state === 'held').map(({ id }) => id);
  return `${ids.length > 0 ? `, HELD: ${ids.join(', ')}` : ''}${paused ? ', PAUSED' : ''}`;
}

/** The clock as moments, not as ages: the page is read long after it was written. */
function clockLines({ plan, disruptedAt, ...s }: FailoverStatus): string[] {
  if (s.kind) return paceLines({ plan, disruptedAt, ...s }).map((line) => `- ${line}`);
  if (!plan) return [`**Clock:** lost at ${moment(disruptedAt)}.`];
  const { from, by } = plan.clock ?? { from: disruptedAt, by: 'operator' };
  const ends = (ms: number): string => moment(new Date(Date.parse(from) + ms).toISOString());
  const target = `target ${ends(plan.targetRtoMs)} (${duration(plan.targetRtoMs)})`;
  return [
    `**Clock:** from ${moment(from)} (${clockWords[by]}); ${target}; **promise ${ends(plan.rtoMs)}** (${duration(plan.rtoMs)}).`,
    '',
    ...paceLines({ plan, disruptedAt, ...s }).map((line) => `- ${line}`),
  ];
}
