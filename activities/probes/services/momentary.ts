import { randomBytes } from 'node:crypto';

/**
 * Accounts of a moment: Tandem makes one to see whether that works, and takes it away. No directory is asked about them, and
 * their names are nobody else's. The name says when it was made, so that one which a killed probe has left behind is known.
 */
const PREFIX = 'tandem-probe-';
/** SQL's pattern of all of them. */
export const MOMENTARY = `${PREFIX}%`;
/** No probe takes longer. */
const LONGEST_MS = 600_000;

export const momentaryName = (now: number): string => `${PREFIX}${now.toString(36)}-${randomBytes(6).toString('hex')}`;

export const isMomentary = (username: string): boolean => username.startsWith(PREFIX);

/** Nobody uses it any more. */
export function isLeftBehind(username: string, now: number): boolean {
  const [, made] = /^([0-9a-z]+)-[0-9a-f]+$/.exec(username.slice(PREFIX.length)) ?? [];
  return made === undefined || Math.abs(now - Number.parseInt(made, 36)) > LONGEST_MS;
}
