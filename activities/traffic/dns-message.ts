import { isIPv4 } from 'node:net';

/**
 * DNS messages as bytes (RFC 1035, updates by RFC 2136): as much of them as the traffic port speaks. No library of npm
 * encodes class NONE, records without data, or tells where a signature begins, which are what an update is made of.
 */

export const types = { A: 1, CNAME: 5, SOA: 6, TXT: 16, AAAA: 28, SRV: 33, TSIG: 250 } as const;
export const classes = { IN: 1, NONE: 254, ANY: 255 } as const;
export const opcodes = { QUERY: 0, UPDATE: 5 } as const;

const rcodeNames = 'NOERROR FORMERR SERVFAIL NXDOMAIN NOTIMP REFUSED YXDOMAIN YXRRSET NXRRSET NOTAUTH NOTZONE'.split(
  ' ',
);
export const rcodeName = (rcode: number): string => rcodeNames[rcode] ?? `RCODE${rcode}`;
export const rcodes = {
  NOERROR: 0,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  REFUSED: 5,
  YXRRSET: 7,
  NXRRSET: 8,
  NOTAUTH: 9,
  NOTZONE: 10,
};

const HEADER_BYTES = 12;
const RESPONSE = 0x8000;
const AUTHORITATIVE = 0x0400;
const TRUNCATED = 0x0200;
const MOST_LABEL = 63;
const MOST_NAME = 255;

export interface DnsRecord {
  /** Absolute, in small letters, without the last dot. */
  name: string;
  type: number;
  class: number;
  ttl: number;
  /** Names in it are whole and in small letters, so that equal data has equal bytes. */
  data: Buffer;
}

export interface DnsQuestion {
  name: string;
  type: number;
}

export interface DnsRequest {
  id: number;
  opcode: number;
  question: DnsQuestion;
  /** Answers, or what an update requires. */
  first: readonly DnsRecord[];
  /** Authorities, or what an update changes. */
  second: readonly DnsRecord[];
}

export interface DnsReply {
  id: number;
  rcode: number;
  opcode: number;
  response: boolean;
  authoritative: boolean;
  truncated: boolean;
  questions: DnsQuestion[];
  answers: DnsRecord[];
  additional: DnsRecord[];
  /** Where the last record begins: a signature is cut off there. */
  lastAt: number;
}

/** What is no DNS message. */
export class Malformed extends Error {}

export const u16 = (...values: number[]): Buffer => {
  const bytes = Buffer.alloc(2 * values.length);
  values.forEach((value, i) => bytes.writeUInt16BE(value, 2 * i));
  return bytes;
};

export function encodeName(name: string): Buffer {
  const labels = name === '' ? [] : name.toLowerCase().split('.');
  const parts = labels.flatMap((label) => {
    const bytes = Buffer.from(label, 'latin1');
    if (bytes.length === 0 || bytes.length > MOST_LABEL) throw new Malformed(`${JSON.stringify(name)} is no name`);
    return [Buffer.from([bytes.length]), bytes];
  });
  const whole = Buffer.concat([...parts, Buffer.from([0])]);
  if (whole.length > MOST_NAME) throw new Malformed(`${JSON.stringify(name)} is too long for a name`);
  return whole;
}

export function encodeRecord({ name, type, class: of, ttl, data }: DnsRecord): Buffer {
  const time = Buffer.alloc(4);
  time.writeUInt32BE(ttl);
  return Buffer.concat([encodeName(name), u16(type, of), time, u16(data.length), data]);
}

export function encodeRequest({ id, opcode, question, first, second }: DnsRequest): Buffer {
  const header = u16(id, opcode << 11, 1, first.length, second.length, 0);
  const asked = Buffer.concat([encodeName(question.name), u16(question.type, classes.IN)]);
  return Buffer.concat([header, asked, ...first.map(encodeRecord), ...second.map(encodeRecord)]);
}

/** Every length is checked: what does not fit is `Malformed`. */
export function decodeReply(bytes: Buffer): DnsReply {
  try {
    return new Reader(bytes).reply();
  } catch (error) {
    if (error instanceof RangeError) throw new Malformed('it ends too early');
    throw error;
  }
}

class Reader {
  private readonly bytes: Buffer;
  private at = HEADER_BYTES;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  reply(): DnsReply {
    const word = (i: number): number => this.bytes.readUInt16BE(2 * i);
    const flags = word(1);
    const questions = this.times(word(2), () => this.question());
    const answers = this.times(word(3), () => this.record());
    this.times(word(4), () => this.record());
    let lastAt = this.at;
    const additional = this.times(word(5), () => {
      lastAt = this.at;
      return this.record();
    });
    if (this.at !== this.bytes.length) throw new Malformed(`${this.bytes.length - this.at} bytes too many`);
    return {
      id: word(0),
      rcode: flags & 15,
      opcode: (flags >> 11) & 15,
      response: (flags & RESPONSE) !== 0,
      authoritative: (flags & AUTHORITATIVE) !== 0,
      truncated: (flags & TRUNCATED) !== 0,
      questions,
      answers,
      additional,
      lastAt,
    };
  }

  private times<T>(count: number, read: () => T): T[] {
    return Array.from({ length: count }, read);
  }

  private take(length: number): Buffer {
    const end = this.at + length;
    if (end > this.bytes.length) throw new Malformed('it ends too early');
    const taken = this.bytes.subarray(this.at, end);
    this.at = end;
    return taken;
  }

  private question(): DnsQuestion {
    const name = this.name();
    const type = this.take(2).readUInt16BE();
    this.take(2);
    return { name, type };
  }

  private record(): DnsRecord {
    const name = this.name();
    const fixed = this.take(10);
    const type = fixed.readUInt16BE();
    const end = this.at + fixed.readUInt16BE(8);
    if (end > this.bytes.length) throw new Malformed('it ends too early');
    const data = this.data(type, end);
    if (this.at !== end) throw new Malformed('a record is longer or shorter than it says');
    return { name, type, class: fixed.readUInt16BE(2), ttl: fixed.readUInt32BE(4), data };
  }

  /** Records without data are what prerequisites and deletions echo. */
  private data(type: number, end: number): Buffer {
    if (this.at === end) return Buffer.alloc(0);
    if (type === types.CNAME) return encodeName(this.name());
    if (type === types.SRV) return Buffer.concat([this.take(6), encodeName(this.name())]);
    return this.take(end - this.at);
  }

  /** RFC 1035, 4.1.4: a pointer leads back, always further, so that no name goes round in circles. */
  private name(): string {
    const labels: string[] = [];
    let end: number | null = null;
    let limit = this.at;
    for (let length = 1; ;) {
      const size = this.take(1).readUInt8();
      if (size === 0) break;
      if (size >= 0xc0) {
        const target = ((size & 0x3f) << 8) | this.take(1).readUInt8();
        end ??= this.at;
        if (target >= limit) throw new Malformed('a name points forward');
        limit = target;
        this.at = target;
        continue;
      }
      if (size > MOST_LABEL) throw new Malformed('a label of an unknown kind');
      length += size + 1;
      if (length > MOST_NAME) throw new Malformed('a name is too long');
      labels.push(labelText(this.take(size)));
    }
    this.at = end ?? this.at;
    return labels.join('.');
  }
}

/** A dot in a label would be read as two labels: nothing that we look for has one, or anything else that is not plain. */
function labelText(bytes: Buffer): string {
  const text = bytes.toString('latin1').toLowerCase();
  if (!/^[!-~]+$/.test(text) || /[.\\]/.test(text))
    throw new Malformed('a label with a character that none of ours has');
  return text;
}

export const srvData = (priority: number, weight: number, port: number, target: string): Buffer =>
  Buffer.concat([u16(priority, weight, port), encodeName(target)]);

/** One string; at most 255 bytes. */
export function txtData(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1');
  if (bytes.length > 255) throw new Malformed('a text is too long');
  return Buffer.concat([Buffer.from([bytes.length]), bytes]);
}

/** The text of a TXT record that has one string; null when it has more, or none. */
export function txtText(data: Buffer): string | null {
  return data.length > 0 && data[0] === data.length - 1 ? data.toString('latin1', 1) : null;
}

/** Bytes of a valid IPv4 or IPv6 address. */
export function addressData(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number));
  // The form of RFC 5952, with an embedded IPv4 part in hexadecimal.
  const { hostname } = new URL(`http://[${address}]/`);
  const [head = '', tail] = hostname.slice(1, -1).split('::');
  const groups = (part: string): number[] => (part === '' ? [] : part.split(':').map((group) => parseInt(group, 16)));
  const [before, after] = [groups(head), groups(tail ?? '')];
  return u16(...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after);
}
