import { agreed, keyEnded, refuseSignature } from '../../workflows/model/approvals.ts';
import { failure } from '../../workflows/model/failures.ts';
import { linesOf, pickedOf, type Lines, type Picked } from '../../workflows/model/fork.ts';
import type { Approver, Role } from '../../workflows/model/plan.ts';
import type { Timestamp } from '../../workflows/model/snapshots.ts';
import type { Database } from '../contacts/database.ts';
import { lockRights } from './closed.ts';
import { readFork } from './fork.ts';
import { approvalOf } from './site-words.ts';

/** What operators say of a fork: which line stands. Two of them pick it, one a commander, at whichever site. */

const NEEDED = 2;
const roles: readonly Role[] = ['approve', 'commander'];

export interface PickWord {
  customer: string;
  /** The number that two moves have claimed. */
  number: number;
  /** The site whose line is to stand. */
  line: string;
  /** Both moves, by the site whose database holds them. */
  lines: Lines;
  operator: string;
  because: string;
  /** 16 bytes or more, hex: no word counts twice. */
  nonce: string;
  /** At most an hour ahead: until then the picked site must have acted on it. */
  expires: Timestamp;
  /** Ed25519 over `pickWordText`, hex, or an armored SSH signature of namespace `tandem`. */
  signature: string;
}

/** What an operator signs: readable, so that it can be read aloud and signed anywhere. The same at both sites. */
export function pickWordText(w: Omit<PickWord, 'signature'>): string {
  return [
    'tandem/1 site pick',
    `customer: ${w.customer}`,
    `epoch: ${w.number}`,
    `line: ${w.line}`,
    ...Object.entries(w.lines)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([site, move]) => `move at ${site}: ${move}`),
    `operator: ${w.operator}`,
    `because: ${JSON.stringify(w.because)}`,
    `nonce: ${w.nonce}`,
    `expires: ${w.expires}`,
    '',
  ].join('\n');
}

/** The fork that words are given for. */
export interface Asked {
  customer: string;
  number: number;
  lines: Lines;
  operators: readonly Approver[];
}

/** Why a word does not count here and now; null when it does. Fails closed: one that a peer tells may be anything. */
export function whyNoPick({ customer, number, lines, operators }: Asked, word: PickWord, now: number): string | null {
  const operator = operators.find(({ id }) => id === word.operator);
  if (!operator) return `${JSON.stringify(word.operator)} is no operator: ${operators.map(({ id }) => id).join(', ')}`;
  if (!operator.roles.some((role) => roles.includes(role)))
    return `${word.operator} may not pick a line: it takes the role ${roles.join(' or ')}`;
  if (word.customer !== customer) return `signed for ${word.customer}, this is ${customer}`;
  if (word.number !== number) return `signed for epoch ${word.number}, the fork is at ${number}`;
  if (!Object.hasOwn(lines, word.line))
    return `there is no line ${JSON.stringify(word.line)}: ${Object.keys(lines).join(' or ')}`;
  const sites = Object.keys(lines);
  if (
    word.lines === null ||
    typeof word.lines !== 'object' ||
    Object.keys(word.lines).length !== sites.length ||
    sites.some((site) => word.lines[site] !== lines[site])
  )
    return 'signed for other moves';
  if (typeof word.because !== 'string' || word.because.trim() === '') return 'it says no reason';
  if (keyEnded(operator, now)) return `the key of ${word.operator} expired at ${operator.expires}`;
  return refuseSignature({ key: operator.key, now, usedNonces: new Set() }, word, pickWordText(word));
}

/** What these words come to: of those that count, which line has two operators, one of them a commander. */
export function pickedBy(asked: Asked, words: readonly PickWord[], now: number): { picked: Picked; good: PickWord[] } {
  const good = words.filter((word) => whyNoPick(asked, word, now) === null);
  const signed = new Map<string, { by: string[]; agreed: boolean }>();
  for (const line of Object.keys(asked.lines)) {
    const of = good.filter((word) => word.line === line);
    const approvals = of.map((word) => approvalOf(asked.operators, word));
    if (of.length > 0)
      signed.set(line, {
        by: [...new Set(of.map(({ operator }) => operator))],
        agreed: agreed(approvals, NEEDED, now),
      });
  }
  return { picked: pickedOf(signed), good };
}

type Query = Parameters<typeof readFork>[0];

export async function wordsOf(client: Query, customer: string, number: number): Promise<PickWord[]> {
  const { rows } = await client.query<{ word: PickWord }>(
    'select word from tandem.pick_word where customer = $1 and number = $2 order by at',
    [customer, number],
  );
  return rows.map(({ word }) => word);
}

async function keep(client: Query, word: PickWord): Promise<boolean> {
  const { rowCount } = await client.query(
    `insert into tandem.pick_word (nonce, customer, number, word) values ($1, $2, $3, $4) on conflict do nothing`,
    [word.nonce, word.customer, word.number, JSON.stringify(word)],
  );
  return rowCount === 1;
}

/** What is asked at this site: null while no fork stands. */
export async function askedHere(
  client: Query,
  { customer, peer, operators }: { customer: string; peer: string; operators: readonly Approver[] },
): Promise<Asked | null> {
  const fork = await readFork(client, customer);
  const { rows } = await client.query<{ site: string }>('select site from tandem.identity');
  const own = rows[0]?.site;
  if (!fork || own === undefined) return null;
  return { customer, number: fork.number, lines: linesOf(own, peer, fork), operators };
}

interface Hearing {
  database: Database;
  customer: string;
  peer: string;
  operators: readonly Approver[];
}

/**
 * Takes one operator's word. Rejects with `verb-refused`, and keeps nothing, when it does not count, when no fork stands here, or
 * while words for the other line live: an operator takes none of them back, they end within an hour. Answers who has signed for
 * that line; `told`: the words that the peer was just heard to hold.
 */
export async function pickByWord(
  { database, customer, peer, operators }: Hearing,
  word: PickWord,
  told: readonly PickWord[] = [],
): Promise<{ picked: Picked; by: string[] }> {
  return database.transaction(async (client) => {
    await lockRights(client, customer);
    const refusal = (why: string): Error => failure('verb-refused', `pick ${word.line} for ${customer}: ${why}`);
    const asked = await askedHere(client, { customer, peer, operators });
    if (!asked) throw refusal('no fork stands here');
    const now = Date.now();
    const why = whyNoPick(asked, word, now);
    if (why !== null) throw refusal(why);
    const { good: before } = pickedBy(asked, [...(await wordsOf(client, customer, asked.number)), ...told], now);
    const other = before.find(({ line }) => line !== word.line);
    if (other) throw refusal(`${other.operator} has signed for ${other.line}, until ${other.expires}`);
    if (!(await keep(client, word))) throw refusal('this signature was used before');
    const { picked, good } = pickedBy(asked, [...before, word], now);
    return { picked, by: [...new Set(good.map(({ operator }) => operator))] };
  });
}

/** Keeps those of a peer's words that count and are not here yet, so that each site has all. Answers how many. */
export async function keepTold(
  { database, customer, peer, operators }: Hearing,
  told: readonly PickWord[],
): Promise<number> {
  if (told.length === 0) return 0;
  return database.transaction(async (client) => {
    const asked = await askedHere(client, { customer, peer, operators });
    if (!asked) return 0;
    const { good } = pickedBy(asked, told, Date.now());
    let kept = 0;
    for (const word of good) if (await keep(client, word)) kept += 1;
    return kept;
  });
}
