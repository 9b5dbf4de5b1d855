import { moveCommand, type FailoverStatus } from '../model/moves.ts';
import { endPhases } from '../model/phases.ts';
import { whoMoves } from '../model/readout.ts';
import { duration } from '../model/rto.ts';

/** What a page tells: enough to act on without another screen. */
export function pageText(s: FailoverStatus, text: string): string {
  const { customer, phase, because, waitsFor, next, move } = s;
  return [
    `${customer}: ${text}`,
    '',
    ...occasion(s),
    `Phase: ${phase} (${because})`,
    `Waits for: ${waitsFor}`,
    `Next: ${next ?? moveCommand(s, endPhases.includes(phase) ? 'report' : 'watch')}`,
    '',
    `Move ${move}`,
    '',
  ].join('\n');
}

function occasion(s: FailoverStatus): string[] {
  const { kind, from, to, disruptedAt, plan } = s;
  if (kind)
    return [
      `Users of ${whoMoves(s)} are served at ${from}, and are to be served at ${to}: as planned, no site is lost.`,
    ];
  const since = plan?.clock?.from ?? disruptedAt;
  const ends = plan && new Date(Date.parse(since) + plan.rtoMs).toISOString();
  return [
    `Site ${from} is lost since ${since}${to === null ? '' : `; ${to} takes over`}.`,
    ...(plan ? [`The promised RTO of ${duration(plan.rtoMs)} ends at ${ends}.`] : []),
  ];
}

/** What goes before it when one commander goes on alone: how to stop him, and how to go along with him. */
export const glassText = (s: FailoverStatus, operator: string, because: string): string =>
  [
    `${operator} approves this failover alone: ${because}`,
    'In 10 minutes it begins, unless an approver stops it, or at once when another one signs.',
    `Stop it: ${moveCommand(s, 'veto')} --operator ID --key FILE --because TEXT`,
    `Sign it: ${moveCommand(s, 'approve')} --operator ID --key FILE`,
    '',
  ].join('\n');
