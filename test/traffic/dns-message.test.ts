import { createHmac, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  addressData,
  decodeReply,
  encodeName,
  encodeRecord,
  encodeRequest,
  Malformed,
  srvData,
  txtData,
  types,
  type DnsReply,
} from '../../activities/traffic/dns-message.ts';
import { proveReply, signed } from '../../activities/traffic/dns-tsig.ts';
import { newKey } from './ends.ts';

/** Bytes of a stranger: whatever they are, they are read or refused. */

const question = { name: 'contoso.example', type: types.SOA };
const record = { name: 'a.contoso.example', class: 1, ttl: 30 };
const records = [
  { ...record, type: types.SRV, data: srvData(10, 50, 5222, 'xmpp.contoso.example') },
  { ...record, type: types.TXT, data: txtData('7 west m') },
  { ...record, type: types.A, data: addressData('192.0.2.1') },
];
const message = encodeRequest({ id: 7, opcode: 5, question, first: records, second: [] });

function read(bytes: Buffer): DnsReply | 'malformed' {
  try {
    return decodeReply(bytes);
  } catch (error) {
    if (error instanceof Malformed) return 'malformed';
    throw error;
  }
}

describe('a message', () => {
  it('is read as it was written', () => {
    expect(read(message)).toMatchObject({ id: 7, opcode: 5, questions: [question], answers: records });
  });

  it('has names that point back, and equal data has equal bytes', () => {
    const head = Buffer.from(message.subarray(0, 12));
    head.writeUInt16BE(1, 6);
    const asked = Buffer.concat([encodeName('contoso.example'), Buffer.from([0, 6, 0, 1])]);
    const short = Buffer.from([1, 0x61, 0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 30, 0, 13, 0, 10, 0, 50, 20, 102, 4]);
    const rest = Buffer.concat([Buffer.from('XMPP', 'latin1'), Buffer.from([0xc0, 12])]);
    expect(read(Buffer.concat([head, asked, short, rest]))).toMatchObject({ answers: [records[0]] });
  });

  it('is refused, and nothing worse, whatever was cut off, changed or made up', () => {
    for (let end = 0; end < message.length; end += 1) expect(read(message.subarray(0, end))).toBe('malformed');
    fc.assert(
      fc.property(fc.nat(message.length - 1), fc.nat(255), (i, value) => {
        const changed = Buffer.from(message);
        changed[i] = value;
        read(changed);
      }),
      { numRuns: 2000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void read(Buffer.from(bytes))),
      { numRuns: 2000 },
    );
    const round = Buffer.concat([message.subarray(0, 12), Buffer.from([0xc0, 12, 0, 6, 0, 1])]);
    expect(read(round)).toBe('malformed');
  });

  it.each(['a..b', '.a', 'x'.repeat(64), Array(52).fill('abcd').join('.')])('has no name such as %s', (name) => {
    expect(() => encodeName(name)).toThrow(Malformed);
  });

  it.each([
    ['192.0.2.1', 'c0000201'],
    ['::', '00'.repeat(16)],
    ['2001:db8::1', `20010db8${'0'.repeat(23)}1`],
    ['::ffff:192.0.2.1', `${'0'.repeat(20)}ffffc0000201`],
    ['1:2:3:4:5:6:7:8', '00010002000300040005000600070008'],
  ])('has the address %s', (address, hex) => {
    expect(addressData(address).toString('hex')).toBe(hex);
  });
});

describe('a signature', () => {
  const key = newKey('tandem-west');
  const now = Date.parse('2026-11-27T10:00:00Z');
  const mac = randomBytes(32);
  /** What a server with the key answers, by RFC 8945 as this test reads it. */
  const answer = (
    change: { ms?: number; error?: number; other?: Buffer; cut?: number; plain?: boolean } = {},
  ): Buffer => {
    const u16 = (n: number): Buffer => Buffer.from([n >> 8, n & 255]);
    const { ms = now, error = 0, other = Buffer.alloc(0), cut = 32, plain = false } = change;
    const time = Buffer.alloc(6);
    time.writeUIntBE(Math.floor(ms / 1000), 0, 6);
    const algorithm = encodeName('hmac-sha256');
    const variables = Buffer.concat([
      encodeName(key.name),
      Buffer.from([0, 255, 0, 0, 0, 0]),
      algorithm,
      time,
      u16(300),
      u16(error),
      u16(other.length),
      other,
    ]);
    const whole = createHmac('sha256', key.secret)
      .update(u16(32))
      .update(mac)
      .update(message)
      .update(variables)
      .digest();
    const shown = plain ? Buffer.alloc(0) : whole.subarray(0, cut);
    const data = Buffer.concat([
      algorithm,
      time,
      u16(300),
      u16(shown.length),
      shown,
      u16(7),
      u16(error),
      u16(other.length),
      other,
    ]);
    const bytes = Buffer.concat([
      message,
      encodeRecord({ name: key.name, type: types.TSIG, class: 255, ttl: 0, data }),
    ]);
    bytes.writeUInt16BE(1, 10);
    return bytes;
  };
  const told = (bytes: Buffer, requestMac = mac): unknown => {
    const proof = proveReply(bytes, decodeReply(bytes), { key, requestMac, nowMs: now });
    return proof.proven ? 'proven' : [proof.kind, proof.because];
  };

  it('proves an answer to this request, now', () => {
    expect(told(answer())).toBe('proven');
    expect(told(answer({ ms: now - 299_000 }))).toBe('proven');
  });

  it.each<[string, Buffer, RegExp]>([
    ['was made too long ago', answer({ ms: now - 302_000 }), /signed 302 s ago, limit 300 s/],
    ['is of the time to come', answer({ ms: now + 302_000 }), /signed -302 s ago/],
    ['is cut short', answer({ cut: 16 }), /signature of its answer is wrong/],
    ['is none', answer({ plain: true }), /signature of its answer is wrong/],
    ['is not there', message, /not signed/],
  ])('that %s proves nothing', (_, bytes, why) => {
    expect(told(bytes)).toEqual(['dns-unproven', expect.stringMatching(why)]);
  });

  it('to another request proves nothing', () => {
    expect(told(answer(), randomBytes(32))).toEqual(['dns-unproven', expect.stringMatching(/is wrong/)]);
  });

  it.each([16, 17, 22])('may say without proof that the key is wrong (%i), and so that nothing was done', (error) => {
    expect(told(answer({ error, plain: true }))).toEqual(['dns-key-refused', expect.stringMatching(/BAD.* to key/)]);
  });

  it('must prove that the clocks are apart', () => {
    const other = Buffer.alloc(6);
    other.writeUIntBE(now / 1000 - 900, 0, 6);
    expect(told(answer({ error: 18, other }))).toEqual(['clock-wrong', expect.stringMatching(/900 s behind/)]);
    expect(told(answer({ error: 18, other, plain: true }))).toEqual(['dns-unproven', expect.stringMatching(/wrong/)]);
  });

  it('is another for another time, key or message', () => {
    const first = signed(message, key, now).mac.toString('hex');
    expect(signed(message, key, now).mac.toString('hex')).toBe(first);
    expect(signed(message, key, now + 1000).mac.toString('hex')).not.toBe(first);
    expect(signed(message, newKey('tandem-west'), now).mac.toString('hex')).not.toBe(first);
    expect(signed(message, { ...key, name: 'tandem-east' }, now).mac.toString('hex')).not.toBe(first);
  });
});
