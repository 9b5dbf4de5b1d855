import { createHash } from 'node:crypto';

/**
 * Who has whom as a contact, so that both sides of a pair say the same of it (RFC 6121: who is subscribed `to` somebody
 * is what that one is subscribed `from`), and each person can be made up alone.
 */

/** `subscription` and `ask`, as ejabberd writes them. */
export type SubscriptionState = readonly [subscription: 'N' | 'T' | 'F' | 'B', ask: 'N' | 'O' | 'I'];

export interface Acquaintance {
  other: number;
  state: SubscriptionState;
}

export interface CircleOptions {
  seed: string;
  /** Users are numbered from 0. */
  users: number;
  /** How many contacts a user wants; most of them are users. */
  wanted: (index: number) => number;
  /** Everybody wants the same number, and gets it. */
  exactly: boolean;
}

/** Of a user's contacts. The others are addresses outside. */
const USERS_SHARE = 0.9;
/** A user of very many contacts finds some of them outside: a few more than he wants would be more than he may have. */
const MOST_USERS = 180;
/** Each is a way to pair all users; of large numbers of users not all are tried. */
const MOST_ROUNDS = 500;

export class Circle {
  private readonly seed: number;
  private readonly users: number;
  /** In round k a user meets the one whose number makes this sum with his own. No two rounds bring the same two together. */
  private readonly sums: readonly number[];
  /** How many users he wants to have as contacts; null where all meet in every round. */
  private readonly wanted: Float64Array | null;
  private readonly total: number;

  constructor({ seed, users, wanted, exactly }: CircleOptions) {
    this.seed = createHash('sha256').update(`${seed}/${users}/circle`).digest().readUInt32LE();
    this.users = users;
    const share = (index: number): number => Math.min(MOST_USERS, USERS_SHARE * wanted(index));
    this.wanted = exactly ? null : Float64Array.from({ length: users }, (_, index) => share(index));
    this.total = this.wanted?.reduce((sum, n) => sum + n, 0) ?? 0;
    const rounds = Math.min(users, exactly ? Math.ceil(USERS_SHARE * wanted(0)) : MOST_ROUNDS);
    const sums = new Set<number>();
    for (let draw = 0; sums.size < rounds; draw += 1) sums.add(this.number(draw, 0x5eed) % users);
    this.sums = [...sums];
  }

  /** The users whom one has as contacts. */
  of(index: number): Acquaintance[] {
    const { users } = this;
    const found: Acquaintance[] = [];
    for (const sum of this.sums) {
      const other = (sum - index + users) % users;
      if (other === index || !this.meet(index, other)) continue;
      const [lower, higher] = stateOf(this.chance(index, other, 2));
      const state = index < other ? lower : higher;
      if (state) found.push({ other, state });
    }
    return found;
  }

  /** As often as both want contacts: on average each gets as many as he wants. */
  private meet(index: number, other: number): boolean {
    if (!this.wanted) return true;
    const both = (this.wanted[index] ?? 0) * (this.wanted[other] ?? 0);
    return this.chance(index, other, 1) * this.total * this.sums.length < both * this.users;
  }

  /** The same for both sides. */
  private chance(index: number, other: number, about: number): number {
    const [lower, higher] = index < other ? [index, other] : [other, index];
    return this.number(Math.imul(lower, 0x9e3779b1) ^ (about << 28), higher) / 2 ** 32;
  }

  /** A mix of two numbers and the seed (murmur3's last step, twice). */
  private number(a: number, b: number): number {
    return mixed(mixed(this.seed ^ a) ^ Math.imul(b + 1, 0x85ebca77));
  }
}

function mixed(n: number): number {
  let h = n;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** How it stands between two, as each of them has it; null: the higher one has no row. */
export function stateOf(chance: number): [lower: SubscriptionState, higher: SubscriptionState | null] {
  if (chance < 0.86) return [both, both];
  if (chance < 0.89) return [asks, asked];
  if (chance < 0.92) return [asked, asks];
  if (chance < 0.945) return [to, from];
  if (chance < 0.97) return [from, to];
  if (chance < 0.985) return [none, none];
  return [none, null];
}

const both = ['B', 'N'] as const;
const asks = ['N', 'O'] as const;
const asked = ['N', 'I'] as const;
const to = ['T', 'N'] as const;
const from = ['F', 'N'] as const;
const none = ['N', 'N'] as const;
