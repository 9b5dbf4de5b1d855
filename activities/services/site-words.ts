import { randomUUID } from 'node:crypto';
import { agreed, keyEnded, refuseSignature, type Approval } from '../../workflows/model/approvals.ts';
import type { Closing } from '../../workflows/model/closing.ts';
import { failure } from '../../workflows/model/failures.ts';
import { whyNotByWord, type OwnRights, type PeerRights } from '../../workflows/model/opening.ts';
import type { Approver, Role } from '../../workflows/model/plan.ts';
import type { Timestamp } from '../../workflows/model/snapshots.ts';
import type { Database } from '../contacts/database.ts';
import { close, endClosing, lockRights, readClosing } from './closed.ts';
import { readFork, toldLines } from './fork.ts';

/**
 * What operators say of a site outside of any move: that it opens, which takes two of them, one a commander, or that it
 * closes, which takes one. Each word is kept whole.
 */

const NEEDED = 2;
/** Who may say what. */
const rights: Record<SiteWord['verb'], readonly Role[]> = {
  open: ['approve', 'commander'],
  close: ['operate', 'approve', 'commander'],
};

export interface SiteWord {
  verb: 'open' | 'close';
  customer: string;
  site: string;
  /** Of the closing that is to end; of the one that begins it is chosen by who signs. */
  closing: string;
  /** As this site holds it: a word given before a move does not count after it. */
  epoch: number;
  operator: string;
  because: string;
  /** 16 bytes or more, hex: no word counts twice. */
  nonce: string;
  /** At most an hour ahead. */
  expires: Timestamp;
  /** Ed25519 over `siteWordText`, hex, or an armored SSH signature of namespace `tandem`. */
  signature: string;
}

/** What an operator signs: readable, so that it can be read aloud and signed anywhere. */
export function siteWordText(w: Omit<SiteWord, 'signature'>): string {
  return [
    `tandem/1 site ${w.verb}`,
    `customer: ${w.customer}`,
    `site: ${w.site}`,
    `closing: ${w.closing}`,
    `epoch: ${w.epoch}`,
    `operator: ${w.operator}`,
    `because: ${JSON.stringify(w.because)}`,
    `nonce: ${w.nonce}`,
    `expires: ${w.expires}`,
    '',
  ].join('\n');
}

/** How a site stands, for whoever is about to sign. */
export const readStanding = (
  database: Database,
  customer: string,
): Promise<{ own: OwnRights; closing: Closing | null }> =>
  database.transaction(async (client) => ({
    own: await lockRights(client, customer),
    closing: await readClosing(client, customer),
  }));

export const newClosing = (): string => randomUUID();

/** Where a word is given: a customer's database at this site, and the operators who count there. */
interface Hearing {
  database: Database;
  customer: string;
  operators: readonly Approver[];
}

type Query = Parameters<typeof readClosing>[0];

/** Why a word does not count here and now; null when it does. */
function whyRefused(
  operators: readonly Approver[],
  word: SiteWord,
  at: { own: OwnRights; customer: string },
  usedNonces: ReadonlySet<string> = new Set(),
): string | null {
  const operator = operators.find(({ id }) => id === word.operator);
  if (!operator) return `${JSON.stringify(word.operator)} is no operator: ${operators.map(({ id }) => id).join(', ')}`;
  if (!operator.roles.some((role) => rights[word.verb].includes(role)))
    return `${word.operator} may not ${word.verb} a site: it takes the role ${rights[word.verb].join(' or ')}`;
  if (word.customer !== at.customer || word.site !== at.own.site)
    return `signed for ${word.customer} at ${word.site}, this is ${at.customer} at ${at.own.site}`;
  if (word.epoch !== at.own.epoch.number)
    return `signed under epoch ${word.epoch}, this site holds ${at.own.epoch.number} by now`;
  if (word.because.trim() === '') return 'it says no reason';
  const now = Date.now();
  if (keyEnded(operator, now)) return `the key of ${word.operator} expired at ${operator.expires}`;
  return refuseSignature({ key: operator.key, now, usedNonces }, word, siteWordText(word));
}

/** Keeps a word for good. Rejects one that is there already. */
async function keep(client: Query, word: SiteWord): Promise<void> {
  const { rowCount } = await client.query(
    `insert into tandem.site_word (nonce, customer, verb, closing, word) values ($1, $2, $3, $4, $5)
     on conflict do nothing`,
    [word.nonce, word.customer, word.verb, word.closing, JSON.stringify(word)],
  );
  if (rowCount !== 1) throw failure('verb-refused', `site ${word.site}: this signature was used before`);
}

const refusal = (word: SiteWord, why: string): Error =>
  failure('verb-refused', `${word.verb} ${word.site} for ${word.customer}: ${why}`);

/**
 * Takes one operator's word that a site opens, and opens it with the second. `peer` is what the peer was just heard to say.
 * Rejects with `verb-refused`, and keeps nothing, when the word does not count, the site is open, or its peer answers and
 * serves, or holds what this site would have to obey.
 */
export async function openByWord(
  { database, customer, operators }: Hearing,
  word: SiteWord,
  peer: PeerRights,
): Promise<{ opened: boolean; by: string[] }> {
  return database.transaction(async (client) => {
    const own = await lockRights(client, customer);
    const closing = await readClosing(client, customer, true);
    if (!closing) throw refusal(word, 'it is not closed');
    if (word.verb !== 'open' || word.closing !== closing.id) throw refusal(word, 'signed for another closing');
    const fork = await readFork(client, customer);
    if (fork?.notedThereAt === null)
      throw refusal(word, `${toldLines(fork)}: it serves nobody before the other site has noted that as well`);
    const why = whyNotByWord(closing.kind, own, peer) ?? whyRefused(operators, word, { own, customer });
    if (why !== null) throw refusal(word, why);
    await keep(client, word);
    const words = await wordsFor(client, closing);
    // Those of before are judged anew: an hour, an epoch or an operator may have gone since.
    const good = words.filter((w) => whyRefused(operators, w, { own, customer }) === null);
    const by = [...new Set(good.map((w) => w.operator))];
    const approvals = good.map((w) => approvalOf(operators, w));
    if (!agreed(approvals, NEEDED, Date.now())) return { opened: false, by };
    await endClosing(client, customer, closing, { because: word.because, words: good });
    return { opened: true, by };
  });
}

async function wordsFor(client: Query, { id }: Closing): Promise<SiteWord[]> {
  const { rows } = await client.query<{ word: SiteWord }>(
    "select word from tandem.site_word where closing = $1 and verb = 'open' order by at",
    [id],
  );
  return rows.map(({ word }) => word);
}

export function approvalOf(
  operators: readonly Approver[],
  { operator: id, expires }: { operator: string; expires: Timestamp },
): Approval {
  const { key = '', roles = [] } = operators.find((o) => o.id === id) ?? {};
  const until = Date.parse(expires);
  return { operator: id, key, commander: roles.includes('commander'), receivedAt: 0, expiresAt: until };
}

/** Closes a site by one operator's word. Rejects with `verb-refused` when it does not count, or the site is closed. */
export async function closeByWord({ database, customer, operators }: Hearing, word: SiteWord): Promise<Closing> {
  return database.transaction(async (client) => {
    const own = await lockRights(client, customer);
    const standing = await readClosing(client, customer, true);
    if (standing) throw refusal(word, `it is closed already: ${standing.because}`);
    const why = word.verb === 'close' ? whyRefused(operators, word, { own, customer }) : 'signed to open it';
    if (why !== null) throw refusal(word, why);
    const { rowCount } = await client.query('select from tandem.site_word where closing = $1', [word.closing]);
    if (rowCount !== 0) throw refusal(word, 'words were given for this closing before');
    await keep(client, word);
    const because = `${word.operator}: ${word.because}`;
    return close(client, customer, { kind: 'operator', because, id: word.closing });
  });
}

/** Those whose word to open a closing counts now. */
export async function signedBy(database: Database, closing: Closing): Promise<string[]> {
  const words = await database.connection((client) => wordsFor(client, closing));
  return [...new Set(words.filter((w) => Date.parse(w.expires) > Date.now()).map((w) => w.operator))];
}
