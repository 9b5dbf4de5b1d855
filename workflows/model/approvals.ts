import type { Approver, Role } from './plan.ts';
import { isArmored, whyUnsigned } from './sshsig.ts';

/** A signature lives one hour (DESIGN 4): longer, and it would outlive the world it was given for. */
export const SIGNATURE_LIFE_MS = 3_600_000;

/** What operators may tell a move (DESIGN 7). */
export const verbs = [
  'approve',
  'retry',
  'skip',
  'done',
  'pause',
  'resume',
  'veto',
  'abort',
  'turn-back',
  'take',
  'note',
] as const;
export type Verb = (typeof verbs)[number];

/** What an operator sends. The text that was signed is not sent: it is made again from these and from the run's own state. */
export interface SignedVerb {
  verb: Verb;
  operator: string;
  /** The plan's digest that the operator has read, hex. */
  digest: string;
  /** Step and round, for `retry` (the round to come), `skip` and `done` (the one that is held). */
  step?: string;
  round?: number;
  because?: string;
  /** On `approve`: what the plan asks whoever signs to accept, word for word. */
  accepts?: string[];
  /** On `approve`: a commander goes on alone, unless somebody stops him within ten minutes. */
  breakGlass?: true;
  /** Chosen by the signer, 16 bytes or more, hex: no text is accepted twice. */
  nonce: string;
  /** ISO 8601, at most an hour ahead. */
  expires: string;
  /** Ed25519 over the text's UTF-8 bytes, in hex, or what `ssh-keygen -Y sign -n tandem` makes of it. */
  signature: string;
}

/** The text that is signed: readable, so that it can be read aloud and signed anywhere. */
export function signedText(
  context: { customer: string; move: string; epoch: number | null },
  v: Omit<SignedVerb, 'signature'>,
): string {
  return [
    `tandem/1 ${v.verb}`,
    `customer: ${context.customer}`,
    `move: ${context.move}`,
    `epoch: ${context.epoch ?? '-'}`,
    `plan: ${v.digest}`,
    // What not every text has stands before all that the sender words: nothing he sends can look like one of these lines.
    ...(v.breakGlass ? ['break-glass: alone, unless it is stopped within 10 minutes'] : []),
    ...(v.accepts ?? []).map((accepted) => `accepts: ${accepted}`),
    `step: ${v.step ?? '-'}`,
    `round: ${v.round ?? 0}`,
    `operator: ${v.operator}`,
    `because: ${JSON.stringify(v.because ?? '')}`,
    `nonce: ${v.nonce}`,
    `expires: ${v.expires}`,
    '',
  ].join('\n');
}

/** Which role may do what. Two operators approve, one of them from `commander`. */
const rights: Record<Verb, readonly Role[]> = {
  approve: ['approve', 'commander'],
  retry: ['operate', 'commander'],
  skip: ['operate', 'commander'],
  done: ['operate', 'commander'],
  pause: ['operate', 'approve', 'commander'],
  resume: ['operate', 'approve', 'commander'],
  veto: ['approve', 'commander'],
  abort: ['operate', 'approve', 'commander'],
  'turn-back': ['approve', 'commander'],
  take: ['operate', 'approve', 'commander'],
  note: ['operate', 'approve', 'commander'],
};

export interface Claim {
  customer: string;
  /** Signatures for a move that was aborted must not fit the next one. */
  move: string;
  epoch: number | null;
  digest: string;
  approvers: readonly Approver[];
  /** What an approval must accept; none when left out. */
  acceptances?: readonly string[];
  usedNonces: ReadonlySet<string>;
  /** Ms since the epoch, by the run's clock. */
  now: number;
}

/** Why a signed verb is not accepted, in one sentence; null when it is. Fails closed: what cannot be read is refused. */
export function refuse(claim: Claim, v: SignedVerb): string | null {
  if (claim.digest === '') return 'there is no plan yet that a word could be signed for: wait until it is shown';
  const operator = claim.approvers.find((a) => a.id === v.operator);
  if (!operator)
    return `${JSON.stringify(v.operator)} is not an operator of this plan: ${claim.approvers.map((a) => a.id).join(', ')}`;
  if (!operator.roles.some((role) => rights[v.verb].includes(role))) {
    return `${v.operator} may not ${v.verb}: it takes the role ${rights[v.verb].join(' or ')}`;
  }
  const alone: unknown = v.breakGlass;
  if (alone !== undefined && (alone !== true || v.verb !== 'approve'))
    return 'breakGlass: only an approve has it, and only as true';
  if (v.breakGlass && !operator.roles.includes('commander'))
    return `${v.operator} may not break the glass: it takes the role commander`;
  if (v.digest !== claim.digest)
    return `signed for plan ${v.digest.slice(0, 12)}, the plan is ${claim.digest.slice(0, 12)}: read it again`;
  const unaccepted = notAccepted(claim, v);
  if (unaccepted !== null) return unaccepted;
  if (keyEnded(operator, claim.now)) return `the key of ${v.operator} expired at ${operator.expires}`;
  return refuseSignature({ ...claim, key: operator.key }, v, signedText(claim, v));
}

/** Why a signature over a text does not count: of another text or key, used before, or past its time. Null when it does. */
export function refuseSignature(
  claim: Pick<Claim, 'usedNonces' | 'now'> & { key: string },
  v: Pick<SignedVerb, 'operator' | 'nonce' | 'expires' | 'signature'>,
  text: string,
): string | null {
  if (!/^[0-9a-f]{32,128}$/.test(v.nonce)) return 'the nonce is not 16 bytes or more in hex';
  if (claim.usedNonces.has(v.nonce)) return 'this signature was used before';
  const expires = Date.parse(v.expires);
  if (!(expires > claim.now))
    return `the signature expired at ${v.expires}; now it is ${new Date(claim.now).toISOString()}`;
  if (expires > claim.now + SIGNATURE_LIFE_MS + 60_000)
    return `the signature lives until ${v.expires}: at most an hour is allowed`;
  const why = whyUnsigned(v.signature, text, claim.key);
  if (why === null) return null;
  return typeof v.signature === 'string' && isArmored(v.signature)
    ? `the SSH signature of ${v.operator} does not hold: ${why}`
    : `the signature does not hold under the key of ${v.operator}`;
}

/** From its moment on, and when it cannot be read. */
export const keyEnded = ({ expires }: Approver, now: number): boolean =>
  expires !== undefined && !(Date.parse(expires) > now);

/** An approval accepts what the plan names, no less and no more; no other verb accepts anything. */
function notAccepted({ acceptances = [] }: Claim, { verb, accepts }: SignedVerb): string | null {
  if (accepts !== undefined && (!Array.isArray(accepts) || accepts.length === 0))
    return 'accepts: a list of texts is expected, or nothing';
  const given: readonly string[] = accepts ?? [];
  const asked = verb === 'approve' ? acceptances : [];
  const lacking = asked.filter((text) => !given.includes(text));
  if (lacking.length > 0)
    return `whoever approves this plan accepts ${lacking.join('; ')}: add ${lacking.map((text) => `--accept ${JSON.stringify(text)}`).join(' ')}`;
  const [unasked] = given.filter((text, i) => !asked.includes(text) || given.indexOf(text) !== i);
  return unasked === undefined ? null : `nothing asks to accept ${JSON.stringify(unasked)}, or it is accepted twice`;
}

export interface Approval {
  operator: string;
  /** His key: one that stands under two names is one operator. */
  key: string;
  commander: boolean;
  receivedAt: number;
  expiresAt: number;
}

/** What an `approve` counts for, and until when: its own hour, and no longer than the key that made it. */
export function approvalOf(approvers: readonly Approver[], v: SignedVerb, receivedAt: number): Approval {
  const { key, roles, expires } = approvers.find((a) => a.id === v.operator) ?? { key: '', roles: [] };
  const ends = expires === undefined ? Infinity : Date.parse(expires);
  return {
    operator: v.operator,
    key,
    commander: (roles as Role[]).includes('commander'),
    receivedAt,
    expiresAt: Math.min(Date.parse(v.expires), ends),
  };
}

/** The approvals that live at `now`, one per operator. */
export function living(approvals: readonly Approval[], now: number): Approval[] {
  return approvals.filter((a) => a.expiresAt > now);
}

/** Two living signatures of different operators, one of them a commander's. */
export function agreed(approvals: readonly Approval[], needed: number, now: number): boolean {
  const alive = living(approvals, now);
  const people = Math.min(new Set(alive.map((a) => a.operator)).size, new Set(alive.map((a) => a.key)).size);
  return people >= needed && alive.some((a) => a.commander);
}
