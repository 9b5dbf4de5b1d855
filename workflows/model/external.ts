import { keyEnded, refuseSignature, type SignedVerb } from './approvals.ts';
import type { Approver, Role } from './plan.ts';
import type { Timestamp } from './snapshots.ts';

/**
 * Where a request to somebody outside stands. `lapsed`: a year has passed, and nobody says what became of it. `superseded`:
 * the customer has moved again, and what was asked for is no longer true.
 */
export const externalStates = ['requested', 'acknowledged', 'done', 'cancelled', 'superseded', 'lapsed'] as const;
export type ExternalState = (typeof externalStates)[number];

/** Still to be followed. */
export const isOpen = (state: ExternalState): boolean => state === 'requested' || state === 'acknowledged';

/** What tells one request from all others; enough to start its run by hand in Temporal UI. */
export interface ExternalKey {
  customer: string;
  party: string;
  /** Number of the epoch under which the customer moved. */
  epoch: number;
}

/**
 * One request, one workflow id: a later move has another epoch and never meets the run of an earlier one, and a run that is
 * started twice is found by its id.
 */
export const externalUpdateId = ({ customer, party, epoch }: ExternalKey): string =>
  `external-update/${customer}/${party}/${epoch}`;

/** A request as the database of the survivor has it. */
export interface ExternalUpdate extends ExternalKey {
  move: string;
  /** The option that this party is about. */
  option: string;
  /** Where the users were served, and where they are. */
  from: string;
  to: string;
  state: ExternalState;
  /** Messages that its channel accepted. */
  sent: number;
  sentAt: Timestamp | null;
  requestedAt: Timestamp;
  changedAt: Timestamp;
  /** Why it is in this state, or why the newest message was not sent. */
  because: string;
}

/** What its run needs beside: read with every look, so that it is the present configuration's. */
export interface FollowedUpdate {
  update: ExternalUpdate;
  chaseMs: number;
  approvers: Approver[];
  /** Run of the request that this one took the place of; null when there is none. */
  overtaken: string | null;
}

export const externalVerbs = ['acknowledge', 'done', 'cancel'] as const;
export type ExternalVerb = (typeof externalVerbs)[number];

export const stateAfter: Record<ExternalVerb, ExternalState> = {
  acknowledge: 'acknowledged',
  done: 'done',
  cancel: 'cancelled',
};

/** What an operator sends about a request: signed as the verbs of a failover are. */
export interface SignedExternalVerb extends Pick<
  SignedVerb,
  'operator' | 'because' | 'nonce' | 'expires' | 'signature'
> {
  verb: ExternalVerb;
}

const may: readonly Role[] = ['operate', 'commander'];

/** The text that is signed. */
export function externalText(
  { customer, party, epoch, move }: ExternalKey & { move: string },
  v: Omit<SignedExternalVerb, 'signature'>,
): string {
  return [
    `tandem/1 external-update ${v.verb}`,
    `customer: ${customer}`,
    `party: ${party}`,
    `move: ${move}`,
    `epoch: ${epoch}`,
    `operator: ${v.operator}`,
    `because: ${JSON.stringify(v.because ?? '')}`,
    `nonce: ${v.nonce}`,
    `expires: ${v.expires}`,
    '',
  ].join('\n');
}

/** Why an operator's word on a request is not taken; null when it is. */
export function refuseExternal(
  { update, approvers }: Pick<FollowedUpdate, 'update' | 'approvers'>,
  v: SignedExternalVerb,
  { usedNonces, now }: { usedNonces: ReadonlySet<string>; now: number },
): string | null {
  const operator = approvers.find((a) => a.id === v.operator);
  if (!operator) return `${JSON.stringify(v.operator)} is no operator here: ${approvers.map((a) => a.id).join(', ')}`;
  if (!operator.roles.some((role) => may.includes(role)))
    return `${v.operator} may not ${v.verb}: it takes the role ${may.join(' or ')}`;
  if (keyEnded(operator, now)) return `the key of ${v.operator} expired at ${operator.expires}`;
  return (
    refuseSignature({ key: operator.key, usedNonces, now }, v, externalText(update, v)) ?? outOfPlace(update.state, v)
  );
}

function outOfPlace(state: ExternalState, { verb, because }: SignedExternalVerb): string | null {
  if (!isOpen(state)) return `it is ${state} already`;
  if (state === stateAfter[verb]) return `it is ${state} already`;
  return verb === 'cancel' && (because ?? '').trim() === '' ? 'a cancel has a reason: `because`' : null;
}
