import { createDecipheriv, createHash, createHmac, createPublicKey, hkdfSync, verify } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliDecompressSync, zstdDecompressSync } from 'node:zlib';

/**
 * A second reader of a vault, written from activities/vault/FORMAT.md alone. It shares no code with Tandem: what it
 * cannot find out, the page does not say.
 */

/** Hex: customer keys by id, public keys of sites and operators. */
export interface GoldenKeys {
  customer: Record<string, string>;
  sites: Record<string, string>;
  operators: Record<string, string>;
}

export type Rows = Record<'contacts' | 'groups' | 'lists' | 'items' | 'defaults', (string | null)[][]>;

interface Pack {
  sha256: string;
  bytes: number;
  footer: number;
  keyId: string;
}

interface Manifest {
  format: number;
  customer: string;
  site: string;
  gen: number;
  seq: number;
  previous: { manifest: string } | null;
  setHash: string;
  packs: Pack[];
}

interface Acceptance {
  manifest: string;
  operator: string;
  because: string;
}

const kinds: Record<string, { rows: keyof Rows; fields: number }> = {
  R: { rows: 'contacts', fields: 8 },
  G: { rows: 'groups', fields: 2 },
  L: { rows: 'lists', fields: 1 },
  I: { rows: 'items', fields: 6 },
  D: { rows: 'defaults', fields: 1 },
};

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const u32 = (value: number): Buffer => Buffer.from(value.toString(16).padStart(8, '0'), 'hex');
const field = (text: string): Buffer => Buffer.concat([u32(Buffer.byteLength(text)), Buffer.from(text)]);
const digits = (n: number): string => String(n).padStart(10, '0');

function must(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what);
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const sorted = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `{${sorted.map(([k, v]) => `${JSON.stringify(k)}:${canonical(v)}`).join(',')}}`;
}

function signatureHolds(key: string, text: string, signature: Buffer): boolean {
  const spki = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), Buffer.from(key, 'hex')]);
  return verify(null, Buffer.from(text), createPublicKey({ key: spki, format: 'der', type: 'spki' }), signature);
}

/** Reads numbers and fields from one end of some bytes to the other. */
class Cursor {
  readonly bytes: Buffer;
  at = 0;
  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }
  take(length: number): Buffer {
    must(this.at + length <= this.bytes.length, 'bytes are missing');
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }
  u8 = (): number => this.take(1).readUInt8();
  u16 = (): number => this.take(2).readUInt16BE();
  u32 = (): number => this.take(4).readUInt32BE();
  field(): string | null {
    const length = this.u32();
    return length === 0xffffffff ? null : this.take(length).toString('utf8');
  }
  get more(): boolean {
    return this.at < this.bytes.length;
  }
}

/** A vault that lies in a folder, a file for each key. */
export class SecondReader {
  private readonly folder: string;
  private readonly keys: GoldenKeys;

  constructor(folder: string, keys: GoldenKeys) {
    this.folder = folder;
    this.keys = keys;
  }

  /** The keys of all objects. */
  list(): string[] {
    const files = readdirSync(this.folder, { recursive: true, withFileTypes: true }).filter((file) => file.isFile());
    return files.map((file) => join(file.parentPath, file.name).slice(join(this.folder, '/').length)).toSorted();
  }

  signed(key: string, purpose: string, site: string): unknown {
    const sealed = JSON.parse(this.read(key).toString('utf8')) as Record<'document' | 'signature' | 'site', unknown>;
    const text = `tandem/1 ${purpose}\n${site}\n${canonical(sealed.document)}`;
    const signature = Buffer.from(String(sealed.signature), 'base64');
    must(sealed.site === site && signatureHolds(this.keys.sites[site] ?? '', text, signature), `${key}: not signed`);
    return sealed.document;
  }

  /** The records of every user of a snapshot. */
  snapshot(customer: string, site: string, gen: number, seq: number): Map<string, Rows> {
    const key = `${customer}/${site}/${digits(gen)}/m/${digits(seq)}.json`;
    const manifest = this.signed(key, 'manifest', site) as Manifest;
    must(manifest.format === 1, `format ${manifest.format}`);
    must(
      [manifest.customer, manifest.site, manifest.gen, manifest.seq].join() === [customer, site, gen, seq].join(),
      key,
    );
    if (manifest.previous) {
      const before = this.list().find((name) => name.endsWith(`m/${digits(seq - 1)}.json`)) ?? '';
      must(sha256(this.read(before)) === manifest.previous.manifest, 'the chain of manifests is broken');
    }
    const settled = new Set<string>();
    const users = new Map<string, Rows>();
    let sum = 0n;
    for (const ref of manifest.packs) {
      const here = new Set<string>();
      for (const { userKey, recordId, record } of this.pack(manifest, ref)) {
        const name = userKey.toString('hex');
        here.add(name);
        if (settled.has(name) || record === null) continue;
        sum = (sum + BigInt(`0x${sha256(Buffer.concat([userKey, recordId]))}`)) % (1n << 256n);
        users.set(...this.record(record, ref.keyId, userKey, recordId));
      }
      for (const name of here) settled.add(name);
    }
    must(sum.toString(16).padStart(64, '0') === manifest.setHash, 'the set of users is another');
    return users;
  }

  /** What an operator signed, in his own words. */
  acceptance(key: string, site: string): Acceptance {
    const a = this.signed(key, 'acceptance', site) as Acceptance & {
      snapshot: { customer: string; site: string; gen: number; seq: number };
      counts: Record<string, number>;
      at: string;
      operatorSignature: string;
    };
    const words = [
      'tandem/1 snapshot accept',
      `customer: ${a.snapshot.customer}`,
      `site: ${a.snapshot.site}`,
      `snapshot: ${a.snapshot.seq} of generation ${a.snapshot.gen}`,
      `manifest: ${a.manifest}`,
      `holds: ${a.counts['users']} users, ${a.counts['contacts']} contacts, ${a.counts['aclItems']} ACL items`,
      `operator: ${a.operator}`,
      `because: ${JSON.stringify(a.because)}`,
      `at: ${a.at}`,
      '',
    ].join('\n');
    const signature = Buffer.from(a.operatorSignature, 'hex');
    must(signatureHolds(this.keys.operators[a.operator] ?? '', words, signature), `${key}: no operator signed it`);
    return a;
  }

  private read(key: string): Buffer {
    return readFileSync(join(this.folder, key));
  }

  private derive(keyId: string, purpose: string, salt: Uint8Array = Buffer.alloc(0)): Buffer {
    return Buffer.from(hkdfSync('sha256', Buffer.from(this.keys.customer[keyId] ?? '', 'hex'), salt, purpose, 32));
  }

  private mac(keyId: string, purpose: string, bytes: Uint8Array): Buffer {
    return createHmac('sha256', this.derive(keyId, purpose)).update(bytes).digest().subarray(0, 16);
  }

  /** Every entry of a pack; a tombstone has no record. */
  private *pack({ customer, site, gen }: Manifest, ref: Pack) {
    const bytes = this.read(`${customer}/${site}/${digits(gen)}/packs/${ref.sha256}`);
    must(sha256(bytes) === ref.sha256 && bytes.length === ref.bytes, `pack ${ref.sha256}: other bytes`);
    const head = new Cursor(bytes);
    must(head.take(8).toString() === 'TNDMPACK' && head.u16() === 1, `pack ${ref.sha256}: no pack of version 1`);
    const keyId = head.take(head.u8()).toString('utf8');
    const salt = head.take(32);
    const packKey = this.derive(keyId, 'pack/1', salt);
    const version = Buffer.from([0, 1]);
    const place = Buffer.concat([version, field(customer), field(site), u32(gen), salt, field(keyId)]);
    const open = (sealed: Buffer, number: number, kind: number): Buffer => {
      const cipher = createDecipheriv('aes-256-gcm', packKey, Buffer.concat([Buffer.alloc(8), u32(number)]));
      cipher.setAAD(Buffer.concat([place, u32(number), Buffer.from([kind])])).setAuthTag(sealed.subarray(-16));
      const packed = Buffer.concat([cipher.update(sealed.subarray(0, -16)), cipher.final()]);
      must(packed[0] === 1 || packed[0] === 2, `codec ${packed[0]}`);
      return (packed[0] === 1 ? zstdDecompressSync : brotliDecompressSync)(packed.subarray(1));
    };
    const footerBytes = bytes.readUInt32BE(bytes.length - 4);
    const footer = new Cursor(open(bytes.subarray(bytes.length - 4 - footerBytes, -4), 0xffff, 2));
    const frames: Buffer[] = [];
    for (let left = footer.u32(); left > 0; left -= 1) {
      const [offset, sealed, length] = [footer.u32(), footer.u32(), footer.u32()];
      const frame = open(bytes.subarray(offset, offset + sealed), frames.length, 1);
      must(frame.length === length, 'a frame of another length');
      frames.push(frame);
    }
    for (let left = footer.u32(); left > 0; left -= 1) {
      const [userKey, recordId, frame] = [footer.take(16), footer.take(16), footer.u16()];
      const [offset, length] = [footer.u32(), footer.u32()];
      footer.u32(); // The epoch under which he was served.
      yield { userKey, recordId, record: frames[frame]?.subarray(offset, offset + length) ?? null };
    }
    for (let left = footer.u32(); left > 0; left -= 1)
      yield { userKey: footer.take(16), recordId: Buffer.alloc(0), record: null };
    must(!footer.more, 'a footer of another length');
  }

  private record(bytes: Buffer, keyId: string, userKey: Buffer, recordId: Buffer): [string, Rows] {
    must(this.mac(keyId, 'rec/1', bytes).equals(recordId), 'a record of another id');
    const input = new Cursor(bytes);
    must(input.u8() === 1, 'a record of another version');
    const username = input.field() ?? '';
    must(this.mac(keyId, 'user/1', Buffer.from(username)).equals(userKey), 'a record of another user');
    const rows: Rows = { contacts: [], groups: [], lists: [], items: [], defaults: [] };
    while (input.more) {
      const kind = kinds[String.fromCharCode(input.u8())];
      must(kind !== undefined, 'a row of an unknown kind');
      input.u32(); // The length of its fields.
      rows[kind.rows].push(Array.from({ length: kind.fields }, () => input.field()));
    }
    return [username, rows];
  }
}
