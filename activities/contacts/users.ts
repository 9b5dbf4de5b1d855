/** The tables of `Users` in memory that threads share. */
export interface SharedUsers {
  names: SharedArrayBuffer;
  ends: SharedArrayBuffer;
  places: SharedArrayBuffer;
  count: number;
}

/**
 * The users of a reading, numbered as they were added, found by the bytes of a name. Flat tables: hundreds of thousands
 * of users cost a few megabytes and no garbage.
 */
export class Users {
  private names: Buffer = Buffer.allocUnsafeSlow(64 << 10);
  private ends: Uint32Array = new Uint32Array(4 << 10);
  /** Open addressing; 0 is a free place, else the user's number + 1. */
  private places: Uint32Array = new Uint32Array(8 << 10);
  private count = 0;

  get length(): number {
    return this.count;
  }

  /** Users of another thread, to be looked up here. */
  static of({ names, ends, places, count }: SharedUsers): Users {
    const users = new Users();
    users.names = Buffer.from(names);
    users.ends = new Uint32Array(ends);
    users.places = new Uint32Array(places);
    users.count = count;
    return users;
  }

  /** Moves into memory that other threads see, too. Nobody is added after this. */
  share(): SharedUsers {
    const names = shared(this.names.subarray(0, this.start(this.count)));
    const ends = shared(this.ends.subarray(0, this.count));
    const places = shared(this.places);
    this.names = Buffer.from(names);
    this.ends = new Uint32Array(ends);
    this.places = new Uint32Array(places);
    return { names, ends, places, count: this.count };
  }

  /** Adds a user who is not there yet, and answers with his number. */
  add(buffer: Buffer, start: number, end: number): number {
    const from = this.start(this.count);
    if (from + end - start > this.names.length) this.names = grown(this.names, from + end - start);
    if (this.count === this.ends.length) {
      const ends = new Uint32Array(2 * this.count);
      ends.set(this.ends);
      this.ends = ends;
    }
    buffer.copy(this.names, from, start, end);
    this.ends[this.count] = from + end - start;
    this.count += 1;
    if (2 * this.count > this.places.length) this.rebuild();
    else this.enter(this.count - 1);
    return this.count - 1;
  }

  name(user: number): Buffer {
    return this.names.subarray(this.start(user), this.end(user));
  }

  /** The number of the user whose name stands there; -1 when he is none of these. */
  find(buffer: Buffer, start = 0, end = buffer.length): number {
    const mask = this.places.length - 1;
    let place = hashOf(buffer, start, end) & mask;
    for (;;) {
      const found = this.places[place] ?? 0;
      if (found === 0) return -1;
      if (this.isNamed(found - 1, buffer, start, end)) return found - 1;
      place = (place + 1) & mask;
    }
  }

  private rebuild(): void {
    this.places = new Uint32Array(2 * this.places.length);
    for (let user = 0; user < this.count; user += 1) this.enter(user);
  }

  private enter(user: number): void {
    const mask = this.places.length - 1;
    let place = hashOf(this.names, this.start(user), this.end(user)) & mask;
    while (this.places[place] !== 0) place = (place + 1) & mask;
    this.places[place] = user + 1;
  }

  private isNamed(user: number, buffer: Buffer, start: number, end: number): boolean {
    const from = this.start(user);
    if (this.end(user) - from !== end - start) return false;
    for (let i = 0; i < end - start; i += 1) if (this.names[from + i] !== buffer[start + i]) return false;
    return true;
  }

  private start(user: number): number {
    return user === 0 ? 0 : (this.ends[user - 1] ?? 0);
  }

  private end(user: number): number {
    return this.ends[user] ?? 0;
  }
}

/** The same bytes with room for at least `length`. */
function grown(bytes: Buffer, length: number): Buffer {
  const larger = Buffer.alloc(Math.max(2 * bytes.length, length));
  bytes.copy(larger);
  return larger;
}

function shared({ buffer, byteOffset, byteLength }: Uint8Array | Uint32Array): SharedArrayBuffer {
  const copy = new SharedArrayBuffer(byteLength);
  new Uint8Array(copy).set(new Uint8Array(buffer, byteOffset, byteLength));
  return copy;
}

/** A value of fixed size for each user; zeros where none was set. */
export class Column {
  readonly width: number;
  private bytes: Buffer;

  constructor(width: number) {
    this.width = width;
    this.bytes = Buffer.alloc(width << 10);
  }

  set(user: number, value: Uint8Array): void {
    if ((user + 1) * this.width > this.bytes.length) this.bytes = grown(this.bytes, (user + 1) * this.width);
    this.bytes.set(value, user * this.width);
  }

  /** Valid until the next `set`. Null where none was set. */
  get(user: number): Buffer | null {
    const value = this.bytes.subarray(user * this.width, (user + 1) * this.width);
    return value.some((byte) => byte !== 0) ? value : null;
  }
}

/** FNV-1a, for a table in memory. */
function hashOf(buffer: Buffer, start: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let i = start; i < end; i += 1) hash = Math.imul(hash ^ (buffer[i] ?? 0), 0x01000193);
  return (hash ^ (hash >>> 15)) >>> 0;
}
