import type { FailoverReport } from '../workflows/model/moves.ts';
import { duration } from '../workflows/model/rto.ts';
import { describePairs, pairsOf } from '../workflows/model/subscriptions.ts';

/** What a report says, in sentences: the same on a page, in a notice and on a screen. */

const outcomes: Record<FailoverReport['outcome'], string> = {
  closed: 'The users were moved, and every check passed.',
  'closed-with-gaps': 'The move ended with gaps: not every step was done.',
  aborted: 'The move was stopped before anybody was moved.',
  'turned-back':
    'The move was turned back before anybody was moved; the site that was given up serves its users again.',
  superseded: 'A newer move took over; this one ended without finishing.',
};

/** Where a planned move ends otherwise than a failover: no site was given up, and what goes before it is a failover. */
const ofPlanned: Partial<typeof outcomes> = {
  'turned-back':
    'The move was turned back before anybody was moved; its users are served again at the site that they were to leave.',
  superseded: 'A failover, which goes before what is planned, took over; this move ended without finishing.',
};

/** It could not even be planned: nothing that it would have done was ever signed. */
export const wasRefused = ({ outcome, planDigest }: Pick<FailoverReport, 'outcome' | 'planDigest'>): boolean =>
  outcome === 'aborted' && planDigest === null;

export function outcomeOf(r: Pick<FailoverReport, 'kind' | 'outcome' | 'planDigest'>): string {
  if (wasRefused(r)) return 'The move was refused before it began: nobody was moved.';
  return (r.kind && ofPlanned[r.outcome]) ?? outcomes[r.outcome];
}

export const begun = ({ steps }: Pick<FailoverReport, 'steps'>): FailoverReport['steps'] =>
  steps.filter(({ state }) => state !== 'waiting');

/** All that did not begin, in one line; nothing where all did. */
export function notBegun({ steps }: Pick<FailoverReport, 'steps'>): string[] {
  const left = steps.filter(({ state }) => state === 'waiting');
  return left.length === 0 ? [] : [left.map(({ id, act }) => (id === act ? id : `${id} (${act})`)).join(', ')];
}

export const moment = (iso: string | null): string =>
  iso === null ? 'never' : `${iso.slice(0, 19).replace('T', ' ')} UTC`;
export const count = (n: number, what: string): string => `${n.toLocaleString('en')} ${what}`;

function timeCost({ rtoMs, rtoPromiseMs, servedAt, disruptedAt, clock }: FailoverReport): string {
  const promise = rtoPromiseMs === null ? '' : ` The promise is ${duration(rtoPromiseMs)}.`;
  if (rtoMs === null && servedAt !== null)
    return `${duration(Date.parse(servedAt) - Date.parse(clock?.from ?? disruptedAt))} from the loss until the users were served; the check after it did NOT pass.${promise}`;
  if (rtoMs === null) return `The service was not brought back by this move.${promise}`;
  const kept = rtoPromiseMs === null ? '' : rtoMs <= rtoPromiseMs ? ' It was kept.' : ' It was NOT kept.';
  return `${duration(rtoMs)} from the loss until the users were served and checked.${promise}${kept}`;
}

function dataCost({ recoveryPoint, recoveryPointAgeMs, servedAt, steps: all }: FailoverReport): string {
  if (servedAt === null) return 'None by this move: nobody was moved.';
  if (all.some((s) => s.act === 'restore-contacts' && s.state === 'skipped'))
    return 'Not known: contacts and block lists are what the survivor held; this move restored none.';
  if (all.some((s) => s.act === 'restore-contacts' && s.facts['from'] === null))
    return 'None by this move: its users were served before it, and stay as they stood.';
  if (recoveryPoint === null || recoveryPointAgeMs === null) return 'Not known: no copy of the data was used.';
  return `The changes of the last ${duration(recoveryPointAgeMs)} before the loss: the copy used is of ${moment(recoveryPoint)}.`;
}

function compared({ mismatches }: FailoverReport): string {
  if (mismatches === null) return 'The rows were not compared with the copy.';
  return mismatches === 0
    ? 'Every row was compared with the copy: none differs.'
    : `${count(mismatches, 'rows')} DIFFER from the copy.`;
}

const restored = ({ restored: r, steps }: FailoverReport): string =>
  r === null
    ? 'Nothing was restored.'
    : 'again' in r
      ? `${steps.find((s) => s.act === 'restore-contacts')?.summary ?? ''}.`
      : `${count(r.users, 'users')}, ${count(r.contacts, 'contacts')}, ${count(r.aclItems, 'entries of block lists')}.`;

/** Whether contact lists were brought to what the other side of each contact says; nothing where nobody looked. */
export function subscriptions({ steps: all }: FailoverReport): [string, string][] {
  const step = all.find((s) => s.act === 'restore-contacts' && s.state === 'done');
  const counts = step ? pairsOf(step.facts) : null;
  return counts === null ? [] : [['Subscriptions', `${describePairs(counts)}.`]];
}

/** In which stores the claim stands, beside the survivor's database. */
export function claimed({ claims = [] }: FailoverReport): string {
  const [held, missing] = [claims.filter((c) => c.claimed), claims.filter((c) => !c.claimed)].map((list) =>
    list.map((c) => `the ${c.store}`).join(' and '),
  );
  return `${held ? `, also claimed in ${held}` : ''}${missing ? `; not in ${missing}` : ''}`;
}

/** Of a planned move. */
export const unreachable = ({ unreachableMs, servedAt }: FailoverReport): string =>
  servedAt === null || typeof unreachableMs !== 'number'
    ? 'its users were not handed over'
    : `its users were served nowhere for ${duration(unreachableMs)} at most`;

/** What came of the changes of both sites; nothing where only one had any. */
export function broughtTogether({ steps }: FailoverReport): string[] {
  const step = steps.find((s) => s.act === 'reconcile-contacts');
  return step && step.state === 'done' ? [step.summary] : [];
}

/** What there was to gain and to lose, as pairs of a name and a sentence. */
export const costs = (r: FailoverReport): [string, string][] =>
  r.kind === undefined
    ? [
        ['Time', timeCost(r)],
        ['Data', dataCost(r)],
        ['Brought back', restored(r)],
        ...subscriptions(r),
        ['Checked', compared(r)],
      ]
    : [
        ['Time', sentence(unreachable(r))],
        ['Data', r.servedAt === null ? 'None by this move: nobody was moved.' : NOTHING_LOST],
        ...broughtTogether(r).map((told): [string, string] => ['Changes of both sites', sentence(told)]),
      ];

const NOTHING_LOST = 'Nothing is lost: the last copy was taken after the last change that could be made.';

const sentence = (told: string): string => `${told.charAt(0).toUpperCase()}${told.slice(1)}.`;
