import { randomInt } from 'node:crypto';
import { failure, type FailureKind } from '../../workflows/model/failures.ts';
import type { DnsSettings } from '../settings.ts';
import {
  classes,
  decodeReply,
  encodeRequest,
  Malformed,
  opcodes,
  rcodeName,
  rcodes,
  types,
  type DnsRecord,
  type DnsReply,
  type DnsRequest,
} from './dns-message.ts';
import { proveReply, signed } from './dns-tsig.ts';
import { ask } from './stream.ts';

/** Of one question; a server that hangs must leave time to say so. */
const ANSWER_MS = 3000;
/** The length of a message over TCP has two bytes. */
const MOST_BYTES = 2 + 0xffff;

type Server = Pick<DnsSettings, 'server' | 'zone' | 'key'>;

/** How one exchange is bounded. The clock is this machine's, unless a test has another one. */
export interface Bounds {
  signal: AbortSignal;
  limitMs?: number;
  now?: () => number;
}

/**
 * The records of one name and type, as the zone's own server has them now: never from a cache. Nothing is believed that its
 * key has not signed.
 */
export async function query(server: Server, name: string, type: number, bounds: Bounds): Promise<DnsRecord[]> {
  const question = { name, type };
  const reply = await exchange(server, { opcode: opcodes.QUERY, question, first: [], second: [] }, bounds);
  if (reply.rcode !== rcodes.NOERROR && reply.rcode !== rcodes.NXDOMAIN) throw refusal(server, reply, 'a question');
  if (!reply.authoritative) throw failure('dns-lame', `${told(server)}: it does not answer for zone ${server.zone}`);
  return reply.answers.filter((r) => r.name === name && r.type === type && r.class === classes.IN);
}

/**
 * Changes the zone by one message: all of it, or nothing. False when what it requires does not hold, by the server's own
 * judgement at that moment.
 */
export async function update(
  server: Server,
  { requires, changes }: { requires: readonly DnsRecord[]; changes: readonly DnsRecord[] },
  bounds: Bounds,
): Promise<boolean> {
  const question = { name: server.zone, type: types.SOA };
  const request = { opcode: opcodes.UPDATE, question, first: requires, second: changes };
  const reply = await exchange(server, request, bounds);
  if (reply.rcode === rcodes.NXRRSET || reply.rcode === rcodes.YXRRSET) return false;
  if (reply.rcode !== rcodes.NOERROR) throw refusal(server, reply, 'an update');
  return true;
}

/** RFC 2136, 2.4.1 and 2.4.3: the set is exactly these records, or there is none. */
export function exactly(name: string, type: number, held: readonly Buffer[]): DnsRecord[] {
  if (held.length === 0) return [{ name, type, class: classes.NONE, ttl: 0, data: Buffer.alloc(0) }];
  return held.map((data) => ({ name, type, class: classes.IN, ttl: 0, data }));
}

/** RFC 2136, 2.5.2 and 2.5.1: what stands there goes, and these come. */
export function replaced(name: string, type: number, ttl: number, wanted: readonly Buffer[]): DnsRecord[] {
  return [
    { name, type, class: classes.ANY, ttl: 0, data: Buffer.alloc(0) },
    ...wanted.map((data) => ({ name, type, class: classes.IN, ttl, data })),
  ];
}

const told = ({ server }: Server): string => `name server ${server}`;

/**
 * One request and its reply, always over TCP: no answer is cut off, none is taken from somebody who only guesses, and no
 * update is sent twice.
 */
async function exchange(server: Server, asked: Omit<DnsRequest, 'id'>, bounds: Bounds): Promise<DnsReply> {
  const { signal, limitMs = ANSWER_MS, now = Date.now } = bounds;
  const id = randomInt(0x1_0000);
  const { bytes, mac } = signed(encodeRequest({ id, ...asked }), server.key, now());
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  let heard: Buffer;
  try {
    const whole = (b: Buffer): boolean => b.length >= 2 && b.length >= 2 + b.readUInt16BE(0);
    const answer = await ask(server.server, Buffer.concat([length, bytes]), {
      limitMs,
      mostBytes: MOST_BYTES,
      whole,
      signal,
    });
    heard = answer.subarray(2, 2 + answer.readUInt16BE(0));
  } catch (error) {
    signal.throwIfAborted();
    throw failure('dns-unreachable', `${told(server)}: ${error instanceof Error ? error.message : String(error)}`);
  }
  const reply = decoded(server, heard);
  const proof = proveReply(heard, reply, { key: server.key, requestMac: mac, nowMs: now() });
  if (!proof.proven) {
    const plain = proof.kind === 'dns-unproven' && reply.rcode !== rcodes.NOERROR ? ` (${rcodeName(reply.rcode)})` : '';
    throw failure(proof.kind, `${told(server)}: ${proof.because}${plain}`);
  }
  const [question] = reply.questions;
  const same =
    reply.id === id &&
    reply.response &&
    reply.opcode === asked.opcode &&
    (question === undefined || (question.name === asked.question.name && question.type === asked.question.type));
  if (!same) throw failure('dns-unproven', `${told(server)}: it answers something that was not asked`);
  if (reply.truncated) throw failure('dns-unproven', `${told(server)}: its answer is cut off`);
  return reply;
}

function decoded(server: Server, bytes: Buffer): DnsReply {
  try {
    return decodeReply(bytes);
  } catch (error) {
    if (error instanceof Malformed)
      throw failure('dns-unproven', `${told(server)}: its answer cannot be read: ${error.message}`);
    throw error;
  }
}

const kinds: Partial<Record<number, FailureKind>> = {
  [rcodes.SERVFAIL]: 'dns-unreachable',
  [rcodes.NOTAUTH]: 'dns-lame',
  [rcodes.NOTZONE]: 'dns-lame',
};

/** A name server that refuses a question is none of the zone: whoever has the zone answers whoever has its key. */
function refusal(server: Server, { rcode }: DnsReply, to: 'a question' | 'an update'): Error {
  const lame = rcode === rcodes.REFUSED && to === 'a question';
  const kind = lame ? 'dns-lame' : (kinds[rcode] ?? 'dns-refused');
  return failure(
    kind,
    `${told(server)}: it answers ${rcodeName(rcode)} to ${to} of zone ${server.zone} by key ${server.key.name}`,
  );
}
