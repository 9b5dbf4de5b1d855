import { agreed, keyEnded, refuseSignature, type Approval } from './approvals.ts';
import type { Approver, Role } from './plan.ts';
import { whyUnsigned } from './sshsig.ts';
import type { Timestamp } from './snapshots.ts';

/** How a customer comes and goes: what the sites have recorded of it in their vaults, and what that comes to. */

export const customerStates = {
  unrecorded: 'it is configured, and was never added',
  joining: 'it was added; nothing has proved yet that it is protected',
  protected: 'each site has covered and applied the other’s snapshots, and a continuity test has passed',
  leaving: 'two operators have decided that it goes; no new move starts',
  gone: 'its keys are destroyed at both sites; its id is never given again',
} as const;
export type CustomerState = keyof typeof customerStates;

interface Head {
  format: 1;
  customer: string;
  /** Whose record it is: it has signed it. */
  site: string;
  at: Timestamp;
}

/** That a site has taken it on. `keys`: the checksum of each of its ring. */
export interface Joined extends Head {
  kind: 'joined';
  domain: string;
  sites: readonly string[];
  keys: Record<string, string>;
  /** Of its database there. */
  database: string;
  /** The escrow that was opened and found the same as the ring; null when the other site's record names it. */
  escrow: { madeAt: string } | null;
}

/** Since when it is protected, as this site has found it, and by what. */
export interface FoundProtected extends Head {
  kind: 'protected';
  covered: { site: string; gen: number; seq: number; by: string }[];
  test: { site: string; run: string };
}

/** A word of an operator that this site has judged, whole. */
export interface KeptWord extends Head {
  kind: 'word';
  word: CustomerWord;
}

/** What two operators have agreed on. */
export interface Decision extends Head {
  kind: 'decision';
  number: number;
  verb: 'leave' | 'stay';
  on: Timestamp | null;
  because: string;
  words: CustomerWord[];
}

/** That a site begins to destroy its keys: from here on there is no way back. */
export interface Destroying extends Head {
  kind: 'destroying';
  decision: number;
  /** Every key id of its ring, its record and the vaults; the checksum where the key was at hand. */
  keys: Record<string, string | null>;
  word: CustomerWord;
}

/** The certificate of one site. */
export interface Destroyed extends Head {
  kind: 'destroyed';
  decision: number;
  keys: { id: string; checksum: string | null; how: string }[];
  /** Who decided, and who carried it out. */
  decidedBy: string[];
  carriedOutBy: string;
}

export type CustomerRecord = Joined | FoundProtected | KeptWord | Decision | Destroying | Destroyed;

export interface CustomerWord {
  verb: 'leave' | 'stay' | 'destroy';
  customer: string;
  /** The decision that it is to be, or that it carries out. */
  decision: number;
  /** Of `leave`: from then on its keys may be destroyed. */
  on: Timestamp | null;
  operator: string;
  because: string;
  nonce: string;
  expires: Timestamp;
  signature: string;
}

const NEEDED = 2;
const rights: Record<CustomerWord['verb'], readonly Role[]> = {
  leave: ['approve', 'commander'],
  stay: ['approve', 'commander'],
  destroy: ['operate', 'approve', 'commander'],
};
/** What whoever signs should have before his eyes. */
const means: Record<CustomerWord['verb'], string> = {
  leave: 'no new move starts; from that time on its keys are destroyed, and no snapshot can be read any more',
  stay: 'it stays a customer',
  destroy: 'its keys are destroyed now, and no snapshot can be read any more',
};

/** What an operator signs: readable, so that it can be read aloud and signed anywhere. */
export function customerWordText(w: Omit<CustomerWord, 'signature'>): string {
  return [
    `tandem/1 customer ${w.verb}`,
    `customer: ${w.customer}`,
    `decision: ${w.decision}`,
    `on: ${w.on ?? '-'}`,
    `means: ${means[w.verb]}`,
    `operator: ${w.operator}`,
    `because: ${JSON.stringify(w.because)}`,
    `nonce: ${w.nonce}`,
    `expires: ${w.expires}`,
    '',
  ].join('\n');
}

/** How a customer stands, by all records of it that could be read. */
export interface CustomerStanding {
  state: CustomerState;
  since: Timestamp | null;
  joined: Joined[];
  /** The decision in force; null when it is to stay. */
  leaving: Decision | null;
  /** The number that the next decision has. */
  next: number;
  /** Sites that have begun to destroy its keys, and those that have. */
  destroying: string[];
  destroyed: Destroyed[];
}

const earliest = (records: readonly Head[]): Timestamp | null => records.map((r) => r.at).toSorted()[0] ?? null;
const latest = (records: readonly Head[]): Timestamp | null =>
  records
    .map((r) => r.at)
    .toSorted()
    .at(-1) ?? null;

/** `sites`: the pair, by the configuration; where that names it no more, by its records. */
export function customerStanding(
  records: readonly CustomerRecord[],
  sites: readonly string[] | null,
): CustomerStanding {
  const of = <K extends CustomerRecord['kind']>(kind: K): Extract<CustomerRecord, { kind: K }>[] =>
    records.filter((r): r is Extract<CustomerRecord, { kind: K }> => r.kind === kind);
  const [joined, found, destroyed] = [of('joined'), of('protected'), of('destroyed')];
  const pair = sites ?? joined[0]?.sites ?? [];
  const decisions = of('decision').toSorted((a, b) => b.number - a.number || (a.at < b.at ? -1 : 1));
  const [last] = decisions;
  const leaving = last?.verb === 'leave' ? last : null;
  const common = {
    joined,
    leaving,
    next: (last?.number ?? 0) + 1,
    destroying: of('destroying').map(({ site }) => site),
    destroyed,
  };
  const gone = pair.length > 0 && pair.every((site) => destroyed.some((d) => d.site === site));
  if (gone) return { state: 'gone', since: latest(destroyed), ...common };
  if (leaving) return { state: 'leaving', since: leaving.at, ...common };
  // Whoever has begun is not a customer any more, whatever was decided at the other site since.
  if (common.destroying.length > 0) return { state: 'leaving', since: earliest(of('destroying')), ...common };
  if (found.length > 0) return { state: 'protected', since: earliest(found), ...common };
  if (joined.length > 0) return { state: 'joining', since: earliest(joined), ...common };
  return { state: 'unrecorded', since: null, ...common };
}

/** What may be said of a customer that stands so, and for which decision; else why not. */
export function whyNotNow(verb: CustomerWord['verb'], s: CustomerStanding, now: number): string | null {
  if (s.state === 'gone') return `it is gone since ${s.since}`;
  if (verb === 'leave') return s.state === 'leaving' ? `it is leaving already, since ${s.since}` : null;
  if (s.state !== 'leaving') return 'nobody has decided that it leaves';
  if (verb === 'stay')
    return s.destroying.length > 0
      ? `${s.destroying.join(' and ')} began to destroy its keys: there is no way back`
      : null;
  const on = s.leaving?.on ?? null;
  return on !== null && Date.parse(on) > now ? `it leaves on ${on}, and may be taken back until then` : null;
}

/** Why a word does not count; null when it does. */
export function whyWordRefused(
  operators: readonly Approver[],
  word: CustomerWord,
  at: { customer: string; standing: CustomerStanding; used: ReadonlySet<string>; now: number },
): string | null {
  const { standing, now } = at;
  const operator = operators.find(({ id }) => id === word.operator);
  if (!operator) return `${JSON.stringify(word.operator)} is no operator: ${operators.map(({ id }) => id).join(', ')}`;
  const roles = rights[word.verb];
  if (!operator.roles.some((role) => roles.includes(role)))
    return `${word.operator} may not say so: it takes the role ${roles.join(' or ')}`;
  if (word.customer !== at.customer) return `signed for ${word.customer}, this is ${at.customer}`;
  const decision = word.verb === 'destroy' ? standing.leaving?.number : standing.next;
  if (word.decision !== decision)
    return `signed for decision ${word.decision}, by now it is ${decision ?? 'taken back'}`;
  if (word.because.trim() === '') return 'it says no reason';
  if ((word.verb === 'leave') !== (word.on !== null)) return 'whoever leaves does so on a day, and nobody else';
  if (keyEnded(operator, now)) return `the key of ${word.operator} expired at ${operator.expires}`;
  return refuseSignature({ key: operator.key, now, usedNonces: at.used }, word, customerWordText(word));
}

/**
 * Those of the words that count together with `word`: for the same decision and day, living, by operators who count. Each
 * signature is read again: that the other site took a word proves nothing here.
 */
export function wordsTogether(
  operators: readonly Approver[],
  words: readonly CustomerWord[],
  word: CustomerWord,
  now: number,
): { words: CustomerWord[]; agreed: boolean } {
  const living = [...words, word].filter((w) => sameAs(word, w) && Date.parse(w.expires) > now);
  return counted(operators, living, now);
}

/** Whether two who count here have signed a decision that the other site has recorded. */
export const decisionHolds = (operators: readonly Approver[], d: Decision): boolean =>
  d.words.every((w) => sameAs({ ...d, decision: d.number }, w)) && counted(operators, d.words, Date.parse(d.at)).agreed;

const sameAs = (
  a: Pick<CustomerWord, 'verb' | 'customer' | 'decision' | 'on'>,
  b: Pick<CustomerWord, 'verb' | 'customer' | 'decision' | 'on'>,
): boolean => a.verb === b.verb && a.customer === b.customer && a.decision === b.decision && a.on === b.on;

function counted(
  operators: readonly Approver[],
  words: readonly CustomerWord[],
  now: number,
): { words: CustomerWord[]; agreed: boolean } {
  const good = words.filter((w) => {
    const by = operators.find(({ id }) => id === w.operator);
    return (
      by !== undefined &&
      by.roles.some((role) => rights[w.verb].includes(role)) &&
      !keyEnded(by, now) &&
      whyUnsigned(w.signature, customerWordText(w), by.key) === null
    );
  });
  const one = [...new Map(good.map((w) => [w.operator, w])).values()];
  const approvals = one.map((w): Approval => {
    const { key = '', roles = [] } = operators.find(({ id }) => id === w.operator) ?? {};
    return { operator: w.operator, key, commander: roles.includes('commander'), receivedAt: 0, expiresAt: Infinity };
  });
  return { words: one, agreed: agreed(approvals, NEEDED, now) };
}
