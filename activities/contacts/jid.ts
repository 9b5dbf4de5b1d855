import { prepClass } from './prep-classes.ts';

/** Of a node, domain or resource, before and after it is prepared. */
const MAX_PART_BYTES = 1023;

/** Node, domain, resource, by the grammar of ejabberd's jid.rl: its own, and not quite that of RFC 7622. */
const PARTS = /^(?:([^\t-\r "&'/:<>@]+)@)?([^\t-\r .@/]+(?:\.[^\t-\r .@/]+)*\.?)(?:\/(.+))?$/su;
/** The first of these alone. */
const NODE = /^[^\t-\r "&'/:<>@]+$/su;
/** As most names are: nothing in them is folded or prohibited. */
const PLAIN_NAME = /^[a-z0-9._-]+$/;
const PRINTABLE = /^[ -~]*$/;

interface Profile {
  /** Classes of code points that it prohibits, besides those that all do. */
  prohibited: string;
  foldsCase: boolean;
}

/** As ejabberd's stringprep has them: its nameprep lets control characters pass. */
const nodeprep: Profile = { prohibited: 'SCX', foldsCase: true };
const nameprep: Profile = { prohibited: '', foldsCase: true };
const resourceprep: Profile = { prohibited: 'C', foldsCase: false };

/** Prohibited as they stand, and replaced by the normalisation before anybody looks. */
const replaced = new Set('\u00a0\u0340\u0341\u202f\u205f\u3000');
for (let space = 0x2000; space <= 0x200a; space += 1) replaced.add(String.fromCodePoint(space));

/**
 * Whether ejabberd's `jid:decode` takes a text for an address: its grammar, then nodeprep, nameprep and resourceprep
 * (RFC 3454). Its tables end with Unicode 3.2: what came later, as most emoji did, is no part of an address. In doubt the
 * answer is no: what is held back can be let go, what was let through cannot be taken back.
 */
export function isAddress(text: string): boolean {
  const parts = PARTS.exec(text);
  if (!parts) return false;
  const [, node = '', domain = '', resource = ''] = parts;
  if (PRINTABLE.test(text)) return [node, domain, resource].every((part) => part.length <= MAX_PART_BYTES);
  return canPrepare(node, nodeprep) && canPrepare(domain, nameprep) && canPrepare(resource, resourceprep);
}

/** Whom an address names, as ejabberd compares it: prepared, and without its resource. Null when it is no address. */
export function bareAddress(text: string): { node: string; domain: string } | null {
  if (!isAddress(text)) return null;
  const [, node = '', domain = ''] = PARTS.exec(text) ?? [];
  const as = (part: string, profile: Profile): string | null =>
    PRINTABLE.test(part) ? part.toLowerCase() : prepared(part, profile);
  const [bare, host] = [as(node, nodeprep), as(domain, nameprep)];
  return bare === null || host === null ? null : { node: bare, domain: host.replace(/\.$/, '') };
}

/** A user's name as ejabberd knows him, however it was typed; null when ejabberd takes it for no name. */
export function preparedName(text: string): string | null {
  if (PLAIN_NAME.test(text) && text.length <= MAX_PART_BYTES) return text;
  if (!NODE.test(text)) return null;
  const name = prepared(text, nodeprep);
  // What is folded must stand by itself: a name that changes again would be two users.
  return name !== null && NODE.test(name) && prepared(name, nodeprep) === name ? name : null;
}

const canPrepare = (text: string, profile: Profile): boolean => prepared(text, profile) !== null;

/** Map, normalise, then look for what is prohibited and for mixed directions; null when something is. */
function prepared(text: string, { prohibited, foldsCase }: Profile): string | null {
  if (Buffer.byteLength(text) > MAX_PART_BYTES) return null;
  let mapped = '';
  for (const char of text) {
    const found = classOf(char);
    if (found === 'P' && !replaced.has(char)) return null;
    if (found !== 'B') mapped += foldsCase ? fold(char) : char;
  }
  const whole = mapped.normalize('NFKC');
  if (Buffer.byteLength(whole) > MAX_PART_BYTES) return null;
  const classes = Array.from(whole, classOf);
  if (classes.some((c) => c === 'P' || prohibited.includes(c))) return null;
  const oneWay = !classes.includes('R') || (classes[0] === 'R' && classes.at(-1) === 'R' && !classes.includes('L'));
  return oneWay ? whole : null;
}

const classOf = (char: string): string => prepClass(char.codePointAt(0) ?? 0);

/** In small letters; those that came after Unicode 3.2 have none. */
function fold(char: string): string {
  const folded = char.toUpperCase().toLowerCase();
  return Array.from(folded, classOf).includes('P') ? char : folded;
}
