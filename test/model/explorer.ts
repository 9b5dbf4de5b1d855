/**
 * Tries every order of events of a small world, breadth first, and stops at the first state that must not be. What it finds
 * is the shortest way there. States are rows of bytes and are compared whole, never by a hash alone: what was left out as
 * known was known.
 */
export interface WorldOf {
  /** Bytes of one state. */
  size: number;
  /** What can happen: applies event `index` to `state` in place; false when it cannot happen there. */
  events: readonly { readonly name: string; apply(state: Uint8Array): boolean }[];
  /** The same state as seen from the other side, into `mirrored`; the events of that side are `mirrorOf` these. */
  mirror(state: Uint8Array, mirrored: Uint8Array): void;
  mirrorOf: readonly number[];
  /** Why this state must not be; null when it may. */
  faultOf(state: Uint8Array): string | null;
}

export interface Found {
  fault: string;
  /** Names of the events that lead there, in order. */
  events: string[];
  /** The state itself, the way round that the events name. */
  state: Uint8Array;
}

export interface Explored {
  states: number;
  /** Events that were tried and could happen. */
  steps: number;
  /** Every order of so many events was tried. */
  depth: number;
  /** Nothing new was left to find: every reachable state was seen. */
  whole: boolean;
  found: Found | null;
}

export interface Bounds {
  depth: number;
  /** Ends at this many states, between two depths of which the last is then not whole. */
  states?: number;
  /** Told after each depth. */
  progress?: (depth: number, states: number) => void;
}

export const NOWHERE = -1;

/** All states that were seen, each once, with the event and the state that first led there. */
export class States {
  count = 0;
  private readonly size: number;
  private bytes: Uint8Array;
  private parents = new Int32Array(1024);
  private causes = new Uint8Array(1024);
  /** Open addressing; a slot holds the number of a state and one. */
  private slots = new Int32Array(4096);

  constructor(size: number) {
    this.size = size;
    this.bytes = new Uint8Array(1024 * size);
  }

  /** The number of a state that was not known before; NOWHERE when it was. */
  add(state: Uint8Array, parent: number, cause: number): number {
    if (this.count * 2 >= this.slots.length) this.rehash();
    const mask = this.slots.length - 1;
    for (let slot = hash(state) & mask; ; slot = (slot + 1) & mask) {
      const known = this.slots[slot] ?? 0;
      if (known === 0) {
        this.slots[slot] = this.count + 1;
        return this.push(state, parent, cause);
      }
      if (this.equals(known - 1, state)) return NOWHERE;
    }
  }

  read(index: number, into: Uint8Array): void {
    const at = index * this.size;
    for (let i = 0; i < this.size; i += 1) into[i] = this.bytes[at + i] ?? 0;
  }

  /** The events that led to a state, and the start they began at. */
  wayTo(index: number): { start: number; causes: number[] } {
    const causes: number[] = [];
    let at = index;
    for (let parent = this.parents[at] ?? NOWHERE; parent !== NOWHERE; parent = this.parents[at] ?? NOWHERE) {
      causes.unshift(this.causes[at] ?? 0);
      at = parent;
    }
    return { start: at, causes };
  }

  private push(state: Uint8Array, parent: number, cause: number): number {
    const index = this.count;
    if (index === this.parents.length) this.grow();
    this.bytes.set(state, index * this.size);
    this.parents[index] = parent;
    this.causes[index] = cause;
    this.count += 1;
    return index;
  }

  private equals(index: number, state: Uint8Array): boolean {
    const at = index * this.size;
    for (let i = 0; i < this.size; i += 1) if (this.bytes[at + i] !== state[i]) return false;
    return true;
  }

  private grow(): void {
    const length = this.parents.length * 2;
    const [bytes, parents, causes] = [this.bytes, this.parents, this.causes];
    (this.bytes = new Uint8Array(length * this.size)).set(bytes);
    (this.parents = new Int32Array(length)).set(parents);
    (this.causes = new Uint8Array(length)).set(causes);
  }

  private rehash(): void {
    this.slots = new Int32Array(this.slots.length * 4);
    const mask = this.slots.length - 1;
    const state = new Uint8Array(this.size);
    for (let index = 0; index < this.count; index += 1) {
      this.read(index, state);
      let slot = hash(state) & mask;
      while (this.slots[slot] !== 0) slot = (slot + 1) & mask;
      this.slots[slot] = index + 1;
    }
  }
}

/** FNV-1a, and what MurmurHash3 ends with. */
function hash(state: Uint8Array): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < state.length; i += 1) h = Math.imul(h ^ (state[i] ?? 0), 0x01000193);
  h ^= h >>> 16;
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  return h >>> 0;
}

/** Folds what two sites that swapped their names would do: of a state and its mirror image the lesser is kept. */
class Folding {
  private readonly mirrored: Uint8Array;
  private readonly world: WorldOf;

  constructor(world: WorldOf) {
    this.world = world;
    this.mirrored = new Uint8Array(world.size);
  }

  /** Makes `state` the one that is kept; whether that is its mirror image. */
  fold(state: Uint8Array): boolean {
    const { mirrored } = this;
    this.world.mirror(state, mirrored);
    for (let i = 0; i < state.length; i += 1) {
      const difference = (mirrored[i] ?? 0) - (state[i] ?? 0);
      if (difference > 0) return false;
      if (difference < 0) {
        state.set(mirrored);
        return true;
      }
    }
    return false;
  }
}

export function explore(world: WorldOf, starts: readonly Uint8Array[], bounds: Bounds): Explored {
  const { events } = world;
  const states = new States(world.size);
  const folding = new Folding(world);
  const from = new Uint8Array(world.size);
  const next = new Uint8Array(world.size);
  let steps = 0;
  const end = (depth: number, whole: boolean, fault: string | null, index: number): Explored => ({
    states: states.count,
    steps,
    depth,
    whole,
    found: fault === null ? null : tell(world, states, starts, index, fault),
  });
  for (const start of starts) {
    next.set(start);
    folding.fold(next);
    const index = states.add(next, NOWHERE, 0);
    const fault = index === NOWHERE ? null : world.faultOf(next);
    if (fault !== null) return end(0, false, fault, index);
  }
  let first = 0;
  for (let depth = 1; depth <= bounds.depth; depth += 1) {
    const last = states.count;
    for (let index = first; index < last; index += 1) {
      states.read(index, from);
      for (let cause = 0; cause < events.length; cause += 1) {
        next.set(from);
        if (events[cause]?.apply(next) !== true) continue;
        steps += 1;
        folding.fold(next);
        const added = states.add(next, index, cause);
        if (added === NOWHERE) continue;
        const fault = world.faultOf(next);
        if (fault !== null) return end(depth, false, fault, added);
      }
      if (bounds.states !== undefined && states.count >= bounds.states) return end(depth - 1, false, null, 0);
    }
    bounds.progress?.(depth, states.count);
    if (states.count === last) return end(depth, true, null, 0);
    first = last;
  }
  return end(bounds.depth, false, null, 0);
}

/** The events by which a state was reached, named as in a world whose sites were never swapped. */
function tell(world: WorldOf, states: States, starts: readonly Uint8Array[], index: number, fault: string): Found {
  const { start, causes } = states.wayTo(index);
  const folding = new Folding(world);
  const state = new Uint8Array(world.size);
  const kept = new Uint8Array(world.size);
  states.read(start, kept);
  // Which way round the start was meant: as it was given.
  let swapped = false;
  for (const given of starts) {
    state.set(given);
    const turned = folding.fold(state);
    if (Buffer.compare(state, kept) === 0) {
      swapped = turned;
      break;
    }
  }
  const names = causes.map((cause) => {
    const name = world.events[swapped ? (world.mirrorOf[cause] ?? cause) : cause]?.name ?? '?';
    world.events[cause]?.apply(kept);
    if (folding.fold(kept)) swapped = !swapped;
    return name;
  });
  if (swapped) world.mirror(kept, state);
  else state.set(kept);
  return { fault: world.faultOf(state) ?? fault, events: names, state: state.slice() };
}
