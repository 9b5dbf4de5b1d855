import { createHash } from 'node:crypto';
import { Circle, stateOf, type SubscriptionState } from './acquaintances.ts';

/**
 * Made-up users whose data looks like life: most have a few dozen contacts, a few have all they may have, and every
 * oddity that a database of many years holds is there. The same seed and number of users always give the same bytes.
 */

export type Cell = string | number | boolean | null;

/** A user's rows by table, columns in the order of `columns`; lists have numbers that the loader turns into ids. */
export interface Person {
  username: string;
  home: number;
  rosterusers: Cell[][];
  rostergroups: Cell[][];
  privacy_list: Cell[][];
  /** The first cell is the list's place in `privacy_list`; null for a row of nobody's list. */
  privacy_list_data: Cell[][];
  privacy_default_list: Cell[][];
}

export interface LifeOptions {
  seed: string;
  users: number;
  domain: string;
  /** `life`, or the same number for everybody, for measurements. */
  contacts?: 'life' | { exactly: number };
}

export const CONTACT_LIMIT = 250;

/** A small generator of our own (xorshift128): `Math.random` cannot be seeded, and this is no cryptography. */
class Dice {
  private readonly s: Uint32Array;

  constructor(...seed: (string | number)[]) {
    const digest = createHash('sha256').update(seed.join('/')).digest();
    this.s = new Uint32Array([0, 4, 8, 12].map((at) => digest.readUInt32LE(at) | 1));
  }

  next(): number {
    const [x = 0, , , w = 0] = this.s;
    const t = (x ^ (x << 11)) >>> 0;
    this.s.copyWithin(0, 1);
    const v = (w ^ (w >>> 19) ^ t ^ (t >>> 8)) >>> 0;
    this.s[3] = v;
    return v / 2 ** 32;
  }

  below(n: number): number {
    return Math.floor(this.next() * n);
  }

  chance(p: number): boolean {
    return this.next() < p;
  }

  pick<T>(of: readonly T[]): T {
    return of[this.below(of.length)] as T;
  }
}

const syllables = [
  ['ka', 'lo', 'mi', 'ren', 'tas', 'vu', 'zel', 'ori'],
  ['ка', 'ло', 'ми', 'рен', 'тас', 'ву', 'жел'],
  ['κα', 'λο', 'μι', 'ρεν', 'τας', 'ξυ'],
  ['か', 'ろ', 'み', 'れん', 'たす', 'ゆ'],
  ['카', '로', '미', '렌', '타스'],
  ['كا', 'لو', 'مي', 'رين'],
  ['क', 'लो', 'मि', 'रेन'],
  ['e\u0301l', 'o\u0308r', 'n\u0303a', 'ș', 'ğu', 'łe'],
];
const awkward = ["O'", '"', '\\', '\t', '\n', '%s', '<b>', '🚒', '𝔘', '👩🏽‍🚒', '\u200f', ' ', ';--', '\\N', '\u0001'];
const groupNames = ['Friends', 'Work', 'Family', 'Команда', '営業部', "Tea & 'cake'", 'a\\b', '📌', ' '];

/** The node part of a user's address; a few are as awkward as the protocol lets them be. */
export function usernameOf(index: number): string {
  const number = String(index).padStart(6, '0');
  if (index % 97 === 11) return `ü${number}`;
  if (index % 97 === 12) return `u.${number}+x_y`;
  if (index % 97 === 13) return `ю${number}`;
  if (index % 97 === 14) return `𐌰${number}`;
  return `u${number}`;
}

function nick(dice: Dice): string {
  const script = dice.pick(syllables);
  const name = Array.from({ length: 2 + dice.below(3) }, () => dice.pick(script)).join('');
  return dice.chance(0.06) ? `${name}${dice.pick(awkward)}${dice.pick(script)}` : name;
}

/** Long-tailed: half have under 25, one in fifty over 150, some all they may have, some none. */
function contactCount(index: number, { seed, users, contacts }: LifeOptions): number {
  if (typeof contacts === 'object') return contacts.exactly;
  if (hasNoRows(index)) return 0;
  if (index % 250 === 7) return CONTACT_LIMIT;
  const dice = new Dice(seed, users, index, 'contacts');
  if (dice.chance(0.06)) return 0;
  const bell = Math.sqrt(-2 * Math.log(1 - dice.next())) * Math.cos(2 * Math.PI * dice.next());
  return Math.min(CONTACT_LIMIT, Math.round(25 * Math.exp(bell)));
}

/** Every other one lives at the second site. */
export const homeOf = (index: number): 0 | 1 => (index % 2 === 0 ? 0 : 1);

/** Users whom the service has never written a row for. */
const hasNoRows = (index: number): boolean => index % 40 === 3;

export function personOf(index: number, options: LifeOptions): Person {
  const dice = new Dice(options.seed, options.users, index);
  const person = withoutRows(index);
  if (options.contacts === undefined && hasNoRows(index)) return person;
  addContacts(person, dice, index, options);
  addLists(person, dice, options);
  return person;
}

/** Who has an account, and nothing else. */
export function withoutRows(index: number): Person {
  return {
    username: usernameOf(index),
    home: homeOf(index),
    rosterusers: [],
    rostergroups: [],
    privacy_list: [],
    privacy_list_data: [],
    privacy_default_list: [],
  };
}

function addContacts(person: Person, dice: Dice, index: number, options: LifeOptions): void {
  const { username } = person;
  const add = (jid: string, state: Cell[]): void => {
    person.rosterusers.push([username, jid, nick(dice), ...state]);
    for (let groups = dice.chance(0.6) ? 1 + dice.below(2) : 0; groups > 0; groups -= 1) {
      const row: Cell[] = [username, jid, dice.pick(groupNames)];
      person.rostergroups.push(row);
      if (dice.chance(0.01)) person.rostergroups.push([...row]); // Written twice by an old client.
    }
  };
  for (const { other, state } of circleOf(options).of(index))
    add(`${usernameOf(other)}@${options.domain}`, written(dice, state));
  const wanted = contactCount(index, options);
  const outside = new Set<string>();
  for (let tries = 0; person.rosterusers.length < wanted && tries < wanted * 4 + 100; tries += 1) {
    const jid = addressOutside(dice, options);
    if (outside.size < outside.add(jid).size) add(jid, subscriptionOutside(dice));
  }
  // A group of a contact that was removed; a request of somebody who is no contact yet.
  if (dice.chance(0.03)) person.rostergroups.push([username, `gone${index}@${options.domain}`, 'Friends']);
  if (dice.chance(0.05))
    person.rosterusers.push([
      username,
      `asks${index}@partner.example`,
      '',
      'N',
      'I',
      `May I add you? ${dice.pick(awkward)}`,
      'N',
      '',
      'item',
    ]);
}

/** Made once for all people of the same options. */
const circles = new WeakMap<LifeOptions, Circle>();

function circleOf(options: LifeOptions): Circle {
  const { seed, users, contacts } = options;
  const wanted = (index: number): number => contactCount(index, options);
  const circle = circles.get(options) ?? new Circle({ seed, users, wanted, exactly: typeof contacts === 'object' });
  circles.set(options, circle);
  return circle;
}

/** A distribution list is one contact. */
function addressOutside(dice: Dice, { domain }: LifeOptions): string {
  if (dice.chance(0.3)) return `dl-${dice.below(500)}@lists.${domain}`;
  return `${dice.pick(['mira', 'tano', 'rek', 'ül'])}${dice.below(100_000)}@partner.example`;
}

/** subscription, ask, askmessage, server, subscribe, type — as ejabberd writes them, and as it once did. */
function written(dice: Dice, [subscription, ask]: SubscriptionState): Cell[] {
  if (subscription === 'N' && ask === 'N') return ['N', 'N', '', ' ', '', null];
  const type = dice.chance(0.04) ? null : 'item';
  const message = ask === 'O' ? 'hello?' : ask === 'I' ? `it is ${nick(dice)}` : '';
  return [subscription, ask, message, 'N', '', type];
}

const subscriptionOutside = (dice: Dice): Cell[] => written(dice, stateOf(dice.next())[0]);

type Item = [
  t: string,
  value: string,
  action: string,
  ord: string,
  all: boolean,
  iq: boolean,
  message: boolean,
  presenceIn: boolean,
  presenceOut: boolean,
];

function addLists(person: Person, dice: Dice, options: LifeOptions): void {
  const { username } = person;
  const list = (name: string, items: Item[]): void => {
    const place = person.privacy_list.length;
    person.privacy_list.push([username, name]);
    for (const item of items) person.privacy_list_data.push([place, ...item]);
  };
  const stranger = (): string => `spam${dice.below(5000)}@evil.example`;
  if (dice.chance(0.25)) {
    list(
      'Blocked contacts',
      Array.from({ length: 1 + dice.below(6) }, (): Item => [
        'j',
        stranger(),
        'd',
        '0',
        true,
        false,
        false,
        false,
        false,
      ]),
    );
    person.privacy_default_list.push([username, 'Blocked contacts']);
  } else if (dice.chance(0.03)) {
    person.privacy_default_list.push([username, 'gone']); // A default that names no list.
  }
  if (dice.chance(0.08)) {
    list(`work ${dice.pick(awkward)}`, [
      ['g', 'Friends', 'a', '1', false, false, true, true, false],
      ['s', 'none', 'd', '2.00', false, true, true, false, false],
      ['n', '', 'd', '10', false, false, false, true, true],
    ]);
  }
  // Equal orders: which comes first is left to the heap.
  if (dice.chance(0.02))
    list('tie', [
      ['j', stranger(), 'a', '1', true, false, false, false, false],
      ['j', stranger(), 'd', '1.0', true, false, false, false, false],
    ]);
  if (dice.chance(0.02)) list('empty', []);
  if (dice.chance(0.01))
    person.privacy_list_data.push([null, 'j', `nobody@${options.domain}`, 'd', '1', true, false, false, false, false]);
}
