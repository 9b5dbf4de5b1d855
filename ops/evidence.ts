import { createHash, type KeyObject } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Evidence } from '../activities/journal/evidence.ts';
import type { TestEvidence } from '../activities/journal/judge-test.ts';
import { sha256, type Signed } from '../activities/vault/signed.ts';
import type { TestReceipt } from '../workflows/model/continuity.ts';
import { Fault } from './fault.ts';
import { openSshLine, publicKeyOf } from './keys.ts';

/** What is larger is not evidence of one move. */
const MOST_BYTES = 256 << 20;

/** As `ssh-keygen -lf` prints it. */
export function fingerprint(key: KeyObject): string {
  const blob = Buffer.from(openSshLine(key).split(' ')[1] ?? '', 'base64');
  return `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`;
}

/** Evidence as it was read; null when the file is not whole, with the reason in `seen`. */
export interface ReadEvidence {
  evidence: Evidence | null;
  seen: string;
}

/** The evidence of a continuity test, or its receipt as it lies in a vault; null when the file is something else. */
export async function readTestEvidence(path: string): Promise<{ evidence: TestEvidence; seen: string } | null> {
  const file = await stat(path).catch(() => null); // What is not there is told by whoever reads it next.
  if (!file?.isFile()) return null;
  const bytes = await readWhole(path);
  const value: Partial<TestEvidence & Signed<TestReceipt>> | null = parsed(bytes);
  const seen = `${bytes.length} bytes, SHA-256 ${sha256(bytes)}`;
  if (value?.kind === 'continuity-test' && value.receipt?.document) return { evidence: value as TestEvidence, seen };
  const { document, signature, site } = value ?? {};
  if (!document || document.run === undefined || document.outcome === undefined || site === undefined) return null;
  if (signature === undefined) return null;
  const { customer, run } = document;
  const receipt = { document, site, signature };
  const about = { customer, site: document.site, run, readFrom: path, exportedAt: '', publicKeys: {} };
  return { evidence: { format: 1, kind: 'continuity-test', ...about, receipt }, seen };
}

/** A file of `evidence export`, or a folder that holds a move as a vault does: `lines/`, `ledger/`, journal.json, report.json. */
export async function readEvidence(path: string): Promise<ReadEvidence> {
  try {
    if ((await stat(path)).isDirectory()) return await readFolder(path);
    const bytes = await readWhole(path);
    const seen = `${bytes.length} bytes, SHA-256 ${sha256(bytes)}`;
    const evidence = parsed(bytes);
    if (evidence === null) return { evidence: null, seen: `${seen}: is cut, or is no JSON` };
    const { format, customer, move, site } = evidence as Partial<Evidence>;
    const named = [customer, move, site].every((text) => typeof text === 'string');
    if (format === 1 && named) return { evidence: evidence as Evidence, seen };
    return { evidence: null, seen: `${seen}: is no evidence of a move, format ${JSON.stringify(format)}` };
  } catch (error) {
    if (error instanceof Fault) throw error;
    const { code } = error as NodeJS.ErrnoException;
    throw new Fault(
      `evidence ${path}: ${code === 'ENOENT' ? 'does not exist' : `cannot be read (${code ?? String(error)})`}`,
      '`tandem evidence export` writes one from a vault.',
    );
  }
}

async function readWhole(path: string): Promise<Buffer> {
  const { size } = await stat(path);
  if (size > MOST_BYTES)
    throw new Fault(`evidence ${path}: ${size} bytes, limit ${MOST_BYTES}`, 'Name the file of one move.');
  return readFile(path);
}

/** Null when it is no JSON object. */
function parsed(bytes: Buffer): object | null {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    return typeof value === 'object' ? value : null;
  } catch {
    return null;
  }
}

async function readFolder(path: string): Promise<ReadEvidence> {
  const names = (await readdir(path, { recursive: true })).filter((n) =>
    /^(?:lines\/\d{10}|ledger\/[0-9a-f]{64}\/\d{10}|journal|report)\.json$/.test(n),
  );
  const read = new Map<string, object>();
  for (const name of names.toSorted()) {
    const document = parsed(await readWhole(join(path, name)));
    if (!document) return { evidence: null, seen: `${name}: is cut, or is no JSON` };
    read.set(name, document);
  }
  const segments = [...read].flatMap(([name, sealed]) => (name.startsWith('lines/') ? [sealed] : []));
  const ledger = [...read].flatMap(([name, sealed]) => (name.startsWith('ledger/') ? [sealed] : []));
  const [journal = null, report = null] = ['journal.json', 'report.json'].map((name) => read.get(name));
  const [first] = [...segments, ...(journal ? [journal] : [])] as Evidence['segments'];
  if (!first) return { evidence: null, seen: 'holds neither lines/*.json nor journal.json' };
  const { customer, move, site } = first.document ?? {};
  const told = {
    format: 1,
    customer,
    move,
    site,
    segments,
    journal,
    report,
    ledger,
    readFrom: path,
    exportedAt: '',
    publicKeys: {},
  };
  return { evidence: told as Evidence, seen: `${names.length} files` };
}

/** Public keys of a file, one OpenSSH line each; its comment names the site, and without one it is of `site`. */
export async function publicKeysFrom(file: string, site: string): Promise<Map<string, KeyObject>> {
  const lines = (await readFile(file, 'utf8').catch(() => '')).split('\n').filter((l) => l.trim() !== '');
  const keys = new Map<string, KeyObject>();
  for (const line of lines) {
    const key = publicKeyOf(line);
    if (!key) throw new Fault(`${file}: a line is no Ed25519 key`, 'One a line, as `ssh-ed25519 AAAA… SITE`.');
    keys.set(line.trim().split(/\s+/)[2] ?? site, key);
  }
  if (keys.size === 0)
    throw new Fault(`${file}: holds no key, or cannot be read`, 'One a line, as `ssh-ed25519 AAAA… SITE`.');
  return keys;
}
