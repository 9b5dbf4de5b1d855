import { hash } from 'node:crypto';

const MODULUS = 1n << 256n;

/**
 * A hash of a set of (userKey, recordId) that does not depend on their order, and to which a user can be added and taken
 * away: the sum of SHA-256 over each pair, modulo 2^256. Both are MACs under the customer's key and the manifest is
 * signed, so nobody chooses what is summed; it finds what was lost, doubled or mixed up.
 */
export class SetHash {
  private sum: bigint;

  constructor(hex = '0'.repeat(64)) {
    this.sum = BigInt(`0x${hex}`);
  }

  add(userKey: Uint8Array, recordId: Uint8Array): void {
    this.sum = (this.sum + term(userKey, recordId)) % MODULUS;
  }

  remove(userKey: Uint8Array, recordId: Uint8Array): void {
    this.sum = (this.sum - term(userKey, recordId) + MODULUS) % MODULUS;
  }

  toString(): string {
    return this.sum.toString(16).padStart(64, '0');
  }
}

function term(userKey: Uint8Array, recordId: Uint8Array): bigint {
  return BigInt(`0x${hash('sha256', Buffer.concat([userKey, recordId]))}`);
}
