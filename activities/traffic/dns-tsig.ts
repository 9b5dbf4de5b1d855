import { createHmac, timingSafeEqual } from 'node:crypto';
import type { TsigKey } from '../settings.ts';
import type { FailureKind } from '../../workflows/model/failures.ts';
import { classes, encodeName, encodeRecord, types, u16, type DnsRecord, type DnsReply } from './dns-message.ts';

/** Transaction signatures (RFC 8945): who asks, who answers, and to what. */

/** Seconds by which two clocks may be apart (RFC 8945, 10). */
const FUDGE_S = 300;
const hashes = { 'hmac-sha256': 'sha256', 'hmac-sha384': 'sha384', 'hmac-sha512': 'sha512' } as const;
const BADSIG = 16;
const BADTIME = 18;
const errorNames: Partial<Record<number, string>> = { 16: 'BADSIG', 17: 'BADKEY', 18: 'BADTIME', 22: 'BADTRUNC' };

interface Tsig {
  algorithm: Buffer;
  timeS: number;
  fudgeS: number;
  mac: Buffer;
  originalId: number;
  error: number;
  other: Buffer;
}

const u48 = (value: number): Buffer => {
  const bytes = Buffer.alloc(6);
  bytes.writeUIntBE(value, 0, 6);
  return bytes;
};

/** The message with its signature behind it, and what the reply's signature is bound to. */
export function signed(message: Buffer, key: TsigKey, nowMs: number): { bytes: Buffer; mac: Buffer } {
  const tsig: Tsig = {
    algorithm: encodeName(key.algorithm),
    timeS: Math.floor(nowMs / 1000),
    fudgeS: FUDGE_S,
    mac: Buffer.alloc(0),
    originalId: message.readUInt16BE(0),
    error: 0,
    other: Buffer.alloc(0),
  };
  const mac = macOf(message, key, tsig, null);
  const data = Buffer.concat([
    tsig.algorithm,
    u48(tsig.timeS),
    u16(tsig.fudgeS, mac.length),
    mac,
    u16(tsig.originalId, tsig.error, 0),
  ]);
  const record = encodeRecord({ name: key.name, type: types.TSIG, class: classes.ANY, ttl: 0, data });
  const bytes = Buffer.concat([message, record]);
  bytes.writeUInt16BE(bytes.readUInt16BE(10) + 1, 10);
  return { bytes, mac };
}

export type Proof = { proven: true } | { proven: false; kind: FailureKind; because: string };

const unproven = (because: string): Proof => ({ proven: false, kind: 'dns-unproven', because });

/**
 * Whether a reply is the answer of somebody who has the key, to this very request, now. What says that the key or its
 * signature is wrong cannot be signed (RFC 8945, 5.3.2): that is believed as far as nothing was done.
 */
export function proveReply(
  bytes: Buffer,
  reply: DnsReply,
  { key, requestMac, nowMs }: { key: TsigKey; requestMac: Buffer; nowMs: number },
): Proof {
  const last = reply.additional.at(-1);
  if (last?.type !== types.TSIG) return unproven('its answer is not signed');
  const tsig = parseTsig(last);
  if (!tsig || reply.additional.filter((r) => r.type === types.TSIG).length > 1)
    return unproven('the signature of its answer cannot be read');
  const error = errorNames[tsig.error] ?? `TSIG error ${tsig.error}`;
  if (tsig.mac.length === 0 && tsig.error >= BADSIG && tsig.error !== BADTIME)
    return { proven: false, kind: 'dns-key-refused', because: `it answers ${error} to key ${key.name}` };
  if (last.name !== key.name.toLowerCase() || !tsig.algorithm.equals(encodeName(key.algorithm)))
    return unproven(`its answer is signed with another key than ${key.name}`);
  const message = Buffer.from(bytes.subarray(0, reply.lastAt));
  message.writeUInt16BE(message.readUInt16BE(10) - 1, 10);
  message.writeUInt16BE(tsig.originalId, 0);
  const expected = macOf(message, key, tsig, requestMac);
  // Of full length only: a shortened one (RFC 8945, 5.2.2.1) proves less, and nobody has asked for it.
  if (tsig.mac.length !== expected.length || !timingSafeEqual(tsig.mac, expected))
    return unproven('the signature of its answer is wrong');
  if (tsig.error === BADTIME) return { proven: false, kind: 'clock-wrong', because: apart(tsig, nowMs) };
  if (tsig.error !== 0)
    return { proven: false, kind: 'dns-key-refused', because: `it answers ${error} to key ${key.name}` };
  if (Math.abs(nowMs / 1000 - tsig.timeS) > Math.min(tsig.fudgeS, FUDGE_S))
    return unproven(`its answer was signed ${Math.round(nowMs / 1000 - tsig.timeS)} s ago, limit ${FUDGE_S} s`);
  return { proven: true };
}

/** A server that finds a request too old or too new says what its own clock shows. */
function apart({ other }: Tsig, nowMs: number): string {
  if (other.length !== 6) return 'it answers BADTIME: its clock and this machine’s are apart';
  const seconds = Math.round(other.readUIntBE(0, 6) - nowMs / 1000);
  return `its clock is ${Math.abs(seconds)} s ${seconds < 0 ? 'behind' : 'ahead of'} this machine’s, limit ${FUDGE_S} s`;
}

/** RFC 8945, 4.3: the request's signature, the message without its own, and what is said about the signature. */
function macOf(message: Buffer, key: TsigKey, tsig: Tsig, requestMac: Buffer | null): Buffer {
  const hmac = createHmac(hashes[key.algorithm], key.secret);
  if (requestMac) hmac.update(u16(requestMac.length)).update(requestMac);
  hmac
    .update(message)
    .update(encodeName(key.name))
    .update(u16(classes.ANY, 0, 0))
    .update(tsig.algorithm);
  hmac
    .update(u48(tsig.timeS))
    .update(u16(tsig.fudgeS, tsig.error, tsig.other.length))
    .update(tsig.other);
  return hmac.digest();
}

/** Null when it is none by its form. */
function parseTsig({ class: of, ttl, data }: DnsRecord): Tsig | null {
  if (of !== classes.ANY || ttl !== 0) return null;
  let at = 0;
  while (at < data.length && data[at] !== 0) at += 1 + (data[at] ?? 0);
  at += 1;
  if (at + 10 > data.length) return null;
  const macLength = data.readUInt16BE(at + 8);
  const behind = at + 10 + macLength;
  if (behind + 6 > data.length) return null;
  const otherLength = data.readUInt16BE(behind + 4);
  if (behind + 6 + otherLength !== data.length) return null;
  return {
    algorithm: Buffer.from(data.toString('latin1', 0, at).toLowerCase(), 'latin1'),
    timeS: data.readUIntBE(at, 6),
    fudgeS: data.readUInt16BE(at + 6),
    mac: data.subarray(at + 10, behind),
    originalId: data.readUInt16BE(behind),
    error: data.readUInt16BE(behind + 2),
    other: data.subarray(behind + 6),
  };
}
