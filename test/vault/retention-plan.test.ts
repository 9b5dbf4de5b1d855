import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GENERATION_MS, KEEP_MS, LOCK_MS } from '../../activities/vault/generation.ts';
import {
  judge,
  partsOf,
  placeOf,
  SETTLE_MS,
  Survey,
  type Facts,
  type Owner,
  type Version,
} from '../../activities/vault/retention.ts';

/** What may go and in which order, tried on every shape of a vault that fast-check thinks of. */

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const NOW = Date.parse('2031-05-01T00:00:00Z');
const owner: Owner = { customer: 'acme', site: 'west', sites: ['east', 'west'] };
const ten = (n: number): string => String(n).padStart(10, '0');
const hash = (n: number): string => n.toString(16).padStart(64, '0');

/** A snapshot as it lies in a vault: which packs its manifest names, its own ones and those of its generation before. */
interface Snapshot {
  seq: number;
  at: number;
  valid: boolean;
  packs: string[];
}
interface Vault {
  versions: Version[];
  snapshots: Map<string, Snapshot & { gen: number }>;
  pins: Map<number, string>;
}

let id = 0;
const version = (key: string, at: number, marker = false): Version => {
  id += 1;
  return { key, id: String(id), bytes: marker ? 0 : 10, at, marker };
};

const shapes = fc.array(
  fc.record({
    ageDays: fc.integer({ min: 0, max: 80 }),
    /** One delta an entry: hours after the one before, whether its manifest stands (else the run was killed) and holds. */
    runs: fc.array(
      fc.record({
        hours: fc.integer({ min: 1, max: 40 }),
        packs: fc.integer({ min: 0, max: 3 }),
        committed: fc.boolean(),
        valid: fc.boolean(),
        receipt: fc.boolean(),
        extra: fc.constantFrom('none', 'version', 'marker'),
      }),
      { minLength: 1, maxLength: 4 },
    ),
    pinned: fc.boolean(),
  }),
  { minLength: 1, maxLength: 6 },
);

/** Generations in the order of their age, as snapshots of one site make them. */
function build(shape: typeof shapes extends fc.Arbitrary<infer T> ? T : never): Vault {
  const vault: Vault = { versions: [], snapshots: new Map(), pins: new Map() };
  let seq = 0;
  for (const { ageDays, runs, pinned } of shape.toSorted((a, b) => b.ageDays - a.ageDays)) {
    const gen = seq + 1;
    let at = NOW - ageDays * DAY;
    const named: string[] = [];
    for (const run of runs) {
      seq += 1;
      at = Math.min(NOW, at + run.hours * HOUR);
      const made = Array.from({ length: run.packs }, (_, i) => `acme/east/${ten(gen)}/packs/${hash(seq * 10 + i)}`);
      vault.versions.push(...made.map((key) => version(key, at)));
      if (!run.committed) continue;
      named.push(...made);
      const key = `acme/east/${ten(gen)}/m/${ten(seq)}.json`;
      vault.versions.push(version(key, at));
      vault.snapshots.set(key, { gen, seq, at, valid: run.valid, packs: [...named] });
      if (run.extra !== 'none') vault.versions.push(version(key, at, run.extra === 'marker'));
      if (run.receipt) vault.versions.push(version(`acme/west/receipts/east/${ten(gen)}-${ten(seq)}.json`, at));
    }
    if (pinned) vault.pins.set(gen, 'a test');
  }
  return vault;
}

const keysOf = (versions: readonly Version[]): Set<string> =>
  new Set(versions.filter((v) => !v.marker).map((v) => v.key));

function survey(versions: readonly Version[]): Survey {
  const found = new Survey(owner);
  for (const v of versions) found.add(v);
  return found;
}

/** The facts that an executor reads: here, from the model of what is signed. */
function factsOf(vault: Vault, versions: readonly Version[], now: number): Facts {
  const there = keysOf(versions);
  const valid = [...vault.snapshots].filter(([key, s]) => there.has(key) && s.valid);
  const stood = valid.filter(([, s]) => now - s.at >= SETTLE_MS).map(([, s]) => s.gen);
  return { now, settled: stood.length === 0 ? null : Math.max(...stood), pins: vault.pins, heldBy: null };
}

/** All deletions in their order: a list of parts, of which each may end in any order within itself. */
function plan(vault: Vault, versions: readonly Version[], now: number): Version[][] {
  const facts = factsOf(vault, versions, now);
  const generations = [...(survey(versions).sources.get('east')?.generations.values() ?? [])];
  return generations
    .toSorted((a, b) => a.gen - b.gen)
    .filter((g) => judge(g, facts).fate === 'expired')
    .flatMap(({ gen }) => {
      const of = versions.filter((v) => {
        const place = placeOf(v.key, owner);
        return 'gen' in place && place.gen === gen;
      });
      return partsOf(of, owner);
    });
}

/** What stands after a crash: whole parts, then any of the next one. */
function crash(
  versions: readonly Version[],
  parts: Version[][],
  whole: number,
  some: (v: Version) => boolean,
): Version[] {
  const gone = new Set([...parts.slice(0, whole).flat(), ...(parts[whole] ?? []).filter(some)]);
  return versions.filter((v) => !gone.has(v));
}

const all = (versions: readonly Version[], parts: Version[][]): Version[] =>
  crash(versions, parts, parts.length, () => true);

describe('a crash at any deletion', () => {
  it('leaves no manifest without a pack that it names, and nothing that the next run would not finish', () => {
    fc.assert(
      fc.property(shapes, fc.nat(), fc.nat(), (shape, cut, salt) => {
        const vault = build(shape);
        const parts = plan(vault, vault.versions, NOW);
        const whole = parts.length === 0 ? 0 : cut % (parts.length + 1);
        const left = crash(vault.versions, parts, whole, ({ id: v }) => (Number(v) * 7 + salt) % 3 === 0);
        const there = keysOf(left);
        const listed = [...vault.snapshots].filter(([key]) => there.has(key));
        expect(listed.flatMap(([, { packs }]) => packs.filter((pack) => !there.has(pack)))).toEqual([]);
        expect(all(left, plan(vault, left, NOW))).toEqual(all(vault.versions, parts));
      }),
      { numRuns: 2000 },
    );
  });

  it('touches nothing that is pinned, in keeping, or the newest that holds; and goes for whole generations only', () => {
    fc.assert(
      fc.property(shapes, (shape) => {
        const vault = build(shape);
        const left = new Set(all(vault.versions, plan(vault, vault.versions, NOW)));
        const newest = [...vault.snapshots.values()].filter((s) => s.valid).toSorted((a, b) => b.seq - a.seq)[0];
        for (const v of vault.versions) {
          const place = placeOf(v.key, owner);
          if (!('gen' in place)) throw new Error(`not of a generation: ${v.key}`);
          const siblings = vault.versions.filter((s) => {
            const other = placeOf(s.key, owner);
            return 'gen' in other && other.gen === place.gen;
          });
          const young = siblings.some(({ at }) => NOW - at <= KEEP_MS);
          const needed = young || vault.pins.has(place.gen) || place.gen === newest?.gen;
          expect(left.has(v) || !needed).toBe(true);
          expect(siblings.every((s) => left.has(s) === left.has(v))).toBe(true);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe('a generation', () => {
  const facts: Facts = { now: NOW, settled: 9, pins: new Map(), heldBy: null };
  const aged = (ms: number, gen = 1) => ({ gen, youngest: NOW - ms });

  it('is kept for 35 days and not a moment less', () => {
    expect(judge(aged(KEEP_MS), facts).fate).toBe('kept');
    expect(judge(aged(KEEP_MS + 1), facts).fate).toBe('expired');
    expect(LOCK_MS).toBe(KEEP_MS + GENERATION_MS);
  });

  it('is kept at any age when none that holds is newer, or when that is not known', () => {
    for (const settled of [null, 1, 0]) expect(judge(aged(1000 * DAY), { ...facts, settled }).fate).toBe('kept');
  });

  it('is pinned by a live move, which is named', () => {
    expect(judge(aged(50 * DAY), { ...facts, heldBy: 'm-1' })).toEqual({ fate: 'pinned', because: 'move m-1 is live' });
  });
});

describe('a name', () => {
  it('that is not exactly one of a generation is never one', () => {
    const none = [
      'acme/epochs/1.json',
      'acme/west/journal/m-1/journal.json',
      'acme/west/tests/t-1.json',
      'acme/west/accepted/east/0000000001-operator-1.json',
      'acme/north/0000000001/m/0000000001.json',
      'acme/east/0000000001/m/0000000001.json.bak',
      'acme/east/0000000001/m/1.json',
      `acme/east/0000000001/packs/${hash(1)}0`,
      `acme/east/0000000001/packs/${hash(1).toUpperCase().replace('0', 'A')}`,
      'acme/east/receipts/west/0000000001-0000000001.json',
      'acme/west/receipts/north/0000000001-0000000001.json',
      'acme2/east/0000000001/m/0000000001.json',
      'tandem-probe/condition',
      '',
    ];
    expect(none.filter((key) => !['evidence', 'unknown'].includes(placeOf(key, owner).kind))).toEqual([]);
    fc.assert(
      fc.property(fc.string(), (rest) => {
        const { kind } = placeOf(`acme/east/${rest}`, owner);
        const shape = { manifest: /^\d{10}\/m\/\d{10}\.json$/, pack: /^\d{10}\/packs\/[0-9a-f]{64}$/, unknown: /^/ };
        expect(rest).toMatch(kind in shape ? shape[kind as 'unknown'] : /never/);
      }),
    );
    expect(survey(none.map((key) => version(key, 0))).sources.get('east')?.generations.size).toBe(0);
  });
});
