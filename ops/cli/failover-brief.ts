import type { FailoverStatus, StepReport } from '../../workflows/model/moves.ts';
import { misfitLines, type Misfit } from './as-planned.ts';
import { behind, moveCommand } from '../../workflows/model/moves.ts';
import { plannedReadout } from '../../workflows/model/planned-readout.ts';
import {
  acceptanceLines,
  blockedLines,
  decideByLines,
  heldLines,
  lossLines,
  paceLines,
  serviceLines,
  whoMoves,
} from '../../workflows/model/readout.ts';
import { endPhases } from '../../workflows/model/phases.ts';
import { duration } from '../../workflows/model/rto.ts';

/**
 * One page for whoever takes over the shift: what happened, what stands, what is asked of whom. `now` in ms; `misfit`: why nobody
 * should sign what waits for that.
 */
export function brief(s: FailoverStatus, now: number, misfit: Misfit | null = null): string[] {
  const { plan, steps } = s;
  const sinceLost = now - Date.parse(plan?.clock?.from ?? s.disruptedAt);
  return [
    ...occasion(s, sinceLost),
    ...(plan
      ? [
          ...(s.kind || endPhases.includes(s.phase) ? [] : [clock(plan.rtoMs - sinceLost)]),
          ...paceLines(s),
          ...serviceLines(s),
          ...decided(s),
        ]
      : []),
    s.owner === null
      ? `Nobody has taken it in hand: \`${moveCommand(s, 'take')} --operator ID --key FILE\`.`
      : `In the hands of ${s.owner}.`,
    '',
    `Waits for ${s.waitsFor}.`,
    ...blockedLines(s),
    ...misfitLines(misfit),
    ...heldLines(s),
    '',
    ...paragraph('Behind us', steps.filter(behind)),
    ...paragraph(
      'Running',
      steps.filter(({ state }) => state === 'running'),
    ),
    ...paragraph(
      'Held',
      steps.filter(({ state }) => state === 'held'),
    ),
    ...paragraph(
      'Failed',
      steps.filter(({ state }) => state === 'failed'),
    ),
    ...paragraph(
      endPhases.includes(s.phase) ? 'Not begun' : 'To come',
      steps.filter(({ state }) => state === 'waiting'),
    ),
    ...s.notes.map((n) => `Note of ${n.by}, ${n.at}: ${n.text}`),
    ...s.alarms.map((a) => `Alarm, ${a.at}: ${a.text}`),
    ...s.unsent.map((u) => `Page not sent, ${u.at}, ${u.channel}: ${u.because}`),
  ];
}

const clock = (leftMs: number): string =>
  leftMs >= 0
    ? `${duration(leftMs)} of the promised RTO are left.`
    : `THE PROMISED RTO IS OVER since ${duration(-leftMs)}.`;

function decided({ plan, phase, approvals, breakGlass, disruptedAt }: FailoverStatus): string[] {
  if (!plan) return [];
  const { decisions, source } = plan;
  const { planned } = decisions;
  const age = duration(Date.parse(disruptedAt) - Date.parse(source.point));
  const signed = approvals.map((a) => a.operator).join(', ');
  return [
    ...(planned
      ? [`${decisions.users} users move under epoch ${decisions.epoch}.`, ...plannedReadout(plan, planned)]
      : [
          `${decisions.users} users move under epoch ${decisions.epoch}; changes of the last ${age} before the loss are gone.`,
          `Isolation: ${decisions.isolation.statement ?? 'not stated'}.`,
          ...lossLines(plan),
        ]),
    ...acceptanceLines(plan),
    ...plan.blockers.map((b) => `Cannot be approved: ${b.text}.`),
    ...(breakGlass
      ? [
          `BREAK-GLASS by ${breakGlass.operator}: ${breakGlass.because}; ${breakGlass.stoppedBy === null ? `counts alone from ${breakGlass.countsAt ?? 'when somebody is paged'} on` : `stopped by ${breakGlass.stoppedBy}`}.`,
        ]
      : []),
    ...(phase === 'approving' ? decideByLines(plan) : []),
    ...(signed === '' ? [] : [`Signed by ${signed}.`]),
  ];
}

const paragraph = (title: string, steps: readonly StepReport[]): string[] =>
  steps.length === 0
    ? []
    : [
        `${title}:`,
        ...steps.map(({ id, act, summary }) => `  ${id} (${act})${summary === '' ? '' : `: ${summary}`}`),
        '',
      ];

const occasion = (s: FailoverStatus, sinceLost: number): string[] =>
  s.kind
    ? [
        `${s.customer}: ${s.kind}, users of ${whoMoves(s)} from ${s.from} to ${s.to}; ${s.phase}: ${s.because}`,
        `Asked for at ${s.declaredAt}; move ${s.move}.`,
      ]
    : [
        `${s.customer}: ${s.from} is lost${s.to === null ? '' : `, ${s.to} takes over`}; ${s.phase}: ${s.because}`,
        `Lost at ${s.plan?.clock?.from ?? s.disruptedAt}, ${duration(sinceLost)} ago; declared at ${s.declaredAt}; move ${s.move}.`,
      ];
