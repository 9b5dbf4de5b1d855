import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';
import type { Cell } from './life.ts';

/**
 * What ejabberd keeps of a password: SCRAM with SHA-1 (RFC 5802), in the order of table `users` behind the name. Costs some
 * milliseconds: made-up users may share what one derivation gives.
 */
function scramKeys(password: string, salt: Buffer): Cell[] {
  const iterations = 4096;
  const salted = pbkdf2Sync(password, salt, iterations, 20, 'sha1');
  const hmac = (what: string): Buffer => createHmac('sha1', salted).update(what).digest();
  const stored = createHash('sha1').update(hmac('Client Key')).digest('base64');
  return [stored, hmac('Server Key').toString('base64'), salt.toString('base64'), iterations];
}

/** Of a password with which all of them sign in. */
export const keysOfAll = (seed: string, password: string): Cell[] =>
  scramKeys(password, createHash('sha256').update(seed).digest().subarray(0, 16));

/** The row of one user, with a salt of his own. */
export const scramRow = (username: string, password: string): Cell[] => [
  username,
  ...scramKeys(password, createHash('sha256').update(username).digest().subarray(0, 16)),
];
