import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  type Document,
  type Node,
  type YAMLMap,
} from 'yaml';

/** In bytes. */
const units = { kB: 1e3, MB: 1e6, GB: 1e9, kbit: 125, Mbit: 125_000, Gbit: 125_000_000 } as const;
/** Below it, one piece of a pack would take seconds, and the first snapshot of a large customer days. */
const LEAST_RATE = 100_000;

/** One thing that is wrong with a file: where, what was seen, what is allowed. */
export interface FileFault {
  /** `file:line:column`. */
  at: string;
  /** `customers.contoso.snapshots.between`. */
  path: string;
  text: string;
}

/** As it is printed: people and editors jump to the place. */
export const faultLine = ({ at, path, text }: FileFault): string => `${at}: ${path === '' ? '' : `${path}: `}${text}`;

/** A YAML file being read: remembers where everything stands, and collects every fault before any is reported. */
export class Source {
  readonly faults: FileFault[] = [];
  readonly document: Document.Parsed;
  private readonly file: string;
  private readonly lines = new LineCounter();

  constructor(file: string, text: string) {
    this.file = file;
    this.document = parseDocument(text, { lineCounter: this.lines, uniqueKeys: true, prettyErrors: false });
    for (const error of this.document.errors)
      this.faults.push({ at: this.at(error.pos[0]), path: '', text: error.message });
  }

  get root(): Cursor {
    return new Cursor(this, this.document.contents, [], null);
  }

  at(offset: number): string {
    const { line, col } = this.lines.linePos(offset);
    return `${this.file}:${line}:${col}`;
  }

  fault(node: Node | null, path: string[], text: string): void {
    this.faults.push({ at: this.at(node?.range?.[0] ?? 0), path: path.join('.'), text });
  }
}

/** A place in the file. What is not there, or of another kind, is a fault of that place; reading goes on with a stand-in. */
export class Cursor {
  readonly source: Source;
  readonly node: Node | null;
  readonly path: string[];
  private readonly parent: Node | null;

  /** What stands above was a fault already: this place says nothing more. */
  private readonly muted: boolean;

  constructor(source: Source, node: Node | null, path: string[], parent: Node | null, muted = false) {
    this.source = source;
    this.muted = muted;
    this.node = isAlias(node) ? (node.resolve(source.document) ?? null) : node;
    this.path = path;
    this.parent = parent;
  }

  fault(text: string): void {
    if (!this.muted) this.source.fault(this.node ?? this.parent, this.path, text);
  }

  /** What is written here, for people; a secret's place never calls this. */
  seen(): string {
    if (this.node === null) return 'nothing';
    if (isMap(this.node)) return 'a map';
    if (isSeq(this.node)) return 'a list';
    return JSON.stringify(isScalar(this.node) ? this.node.value : null);
  }

  private map(): YAMLMap | null {
    if (isMap(this.node)) return this.node;
    this.fault(`${this.seen()}; a map is expected`);
    return null;
  }

  /** The children of a map whose keys are free: ids in small letters, digits and dashes. */
  entries(what: string): [string, Cursor][] {
    const found: [string, Cursor][] = [];
    for (const { key, value } of this.map()?.items ?? []) {
      const name = isScalar(key) ? String(key.value) : '';
      const child = new Cursor(this.source, value as Node | null, [...this.path, name], key as Node);
      if (/^[a-z][a-z0-9-]{0,62}$/.test(name)) found.push([name, child]);
      else
        this.source.fault(
          key as Node,
          child.path,
          `${JSON.stringify(name)} is no id of a ${what}: small letters, digits and dashes, a letter first`,
        );
    }
    if (isMap(this.node) && this.node.items.length === 0) this.fault(`no ${what} is given`);
    return found;
  }

  /** The keys of a map, whatever they are. */
  names(): string[] {
    return isMap(this.node) ? this.node.items.map(({ key }) => (isScalar(key) ? String(key.value) : '')) : [];
  }

  /** The children of a map with known keys. Unknown ones are faults, with the nearest known one. */
  fields<K extends string>(keys: readonly K[]): Record<K, Cursor> {
    const map = this.map();
    for (const { key } of map?.items ?? []) {
      const name = isScalar(key) ? String(key.value) : '';
      if (!(keys as readonly string[]).includes(name)) {
        this.source.fault(key as Node, [...this.path, name], `unknown key; ${nearest(name, keys)}`);
      }
    }
    // Of a map that is not there one line is told, and not one more for each of its keys.
    const muted = map === null || this.muted;
    const child = (key: K): Cursor =>
      new Cursor(this.source, map?.get(key, true) ?? null, [...this.path, key], this.node ?? this.parent, muted);
    return Object.fromEntries(keys.map((key) => [key, child(key)])) as Record<K, Cursor>;
  }

  /** Whether a map has this key, whatever is written there. */
  has(key: string): boolean {
    return isMap(this.node) && this.node.has(key);
  }

  get present(): boolean {
    return this.node !== null && !(isScalar(this.node) && this.node.value === null);
  }

  items(): Cursor[] {
    if (isSeq(this.node))
      return this.node.items.map(
        (item, i) => new Cursor(this.source, item as Node, [...this.path, String(i)], this.node),
      );
    this.fault(`${this.seen()}; a list is expected`);
    return [];
  }

  text(allowed: string, test: (value: string) => boolean = (v) => v !== ''): string {
    const value = isScalar(this.node) ? this.node.value : null;
    if (typeof value === 'string' && test(value)) return value;
    this.fault(`${this.seen()}; ${allowed}`);
    return '';
  }

  /** Of the allowed words the one that is written; what was probably meant, if there is one, stands in for another. */
  oneOf<T extends string>(allowed: readonly T[], standIn = allowed[0] as T): T {
    return this.word(allowed) ?? standIn;
  }

  /** The words of a list, all of them allowed ones; of those that are not, what was probably meant. */
  listOf<T extends string>(allowed: readonly T[]): T[] {
    return this.items().flatMap((item) => item.word(allowed) ?? []);
  }

  private word<T extends string>(allowed: readonly T[]): T | null {
    const value = isScalar(this.node) ? this.node.value : null;
    const found = allowed.find((a) => a === value);
    if (found !== undefined) return found;
    const word = typeof value === 'string' ? value : null;
    this.fault(`${this.seen()}; ${word === null ? `one of ${allowed.join(', ')}` : nearest(word, allowed)}`);
    return word === null ? null : meant(word, allowed);
  }

  /** What is written here, if that is a text. */
  written(): string {
    return isScalar(this.node) && typeof this.node.value === 'string' ? this.node.value : '';
  }

  integer(from: number, to: number, missing?: number): number {
    if (!this.present && missing !== undefined) return missing;
    const value = isScalar(this.node) ? this.node.value : null;
    if (Number.isInteger(value) && (value as number) >= from && (value as number) <= to) return value as number;
    this.fault(`${this.seen()}; a whole number from ${from} to ${to} is allowed`);
    return from;
  }

  /** `8h`, `90m`, `7h30m`, `30s`, in ms. */
  duration(missing?: number): number {
    if (!this.present && missing !== undefined) return missing;
    const value = isScalar(this.node) ? this.node.value : null;
    const match = typeof value === 'string' ? /^(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$/.exec(value) : null;
    const [, d, h, m, s] = match ?? [];
    const ms = (((Number(d ?? 0) * 24 + Number(h ?? 0)) * 60 + Number(m ?? 0)) * 60 + Number(s ?? 0)) * 1000;
    if (match && ms > 0) return ms;
    this.fault(`${this.seen()}; a duration such as 8h, 90m, 7h30m or 30s is allowed`);
    return missing ?? 0;
  }

  /** `20 MB/s`, `500 kB/s`, `1 GB/s`, or as links are sold `100 Mbit/s`, in bytes per second; null when it is not given. */
  rate(): number | null {
    if (!this.present) return null;
    const value = isScalar(this.node) ? this.node.value : null;
    const match = typeof value === 'string' ? /^(\d+(?:\.\d+)?) ?(kB|MB|GB|kbit|Mbit|Gbit)\/s$/.exec(value) : null;
    const [, number, unit] = match ?? [];
    const bytes = Math.floor(Number(number) * (units[unit as keyof typeof units] ?? 0));
    if (match && bytes >= LEAST_RATE) return bytes;
    this.fault(`${this.seen()}; a rate such as 20 MB/s, 500 kB/s or 100 Mbit/s is allowed, 100 kB/s at the least`);
    return null;
  }
}

/** So many words are read at a glance. */
const FEW = 8;

/** "did you mean …" for a near miss, else everything that is allowed. */
export function nearest(word: string, known: readonly string[]): string {
  const best = meant(word, known);
  const hint = best === null ? '' : `did you mean ${best}? `;
  // Who mistyped one word is not helped by thirty.
  return hint !== '' && known.length > FEW ? hint.trim() : `${hint}allowed: ${known.join(', ')}`;
}

/** The known word that is a near miss's. */
function meant<T extends string>(word: string, known: readonly T[]): T | null {
  const ranked = known.map((k) => ({ k, d: distance(word, k) })).toSorted((a, b) => a.d - b.d);
  const [best] = ranked;
  return best && best.d <= Math.max(2, best.k.length / 3) ? best.k : null;
}

/** Levenshtein's edit distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      next.push(
        Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)),
      );
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
