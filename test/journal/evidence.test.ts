import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { judgeEvidence, type Evidence, type Verdict } from '../../activities/journal/evidence.ts';
import { seal, type Signed } from '../../activities/vault/signed.ts';
import { fingerprint } from '../../ops/evidence.ts';
import { makeWorld, type World } from '../failover-acts/world.ts';
import { entryOf, nth, tell, type Draft } from './story.ts';

let world: World;
let good: Evidence;
let other: Evidence;
beforeAll(async () => {
  world = await makeWorld();
  good = await tell(world);
  other = await tell(world);
});
afterAll(() => world.close());

const judge = (evidence: Evidence, keys: ReadonlyMap<string, KeyObject> = world.settings.publicKeys): Verdict[] =>
  judgeEvidence(evidence, keys, fingerprint);
const failed = (verdicts: Verdict[]): string[] => verdicts.filter((v) => !v.ok).map((v) => v.check);
const seen = (verdicts: Verdict[], check: string): string => verdicts.find((v) => v.check === check)?.seen ?? '';

/** What somebody without the site's key can do to a file. */
const tampered = (change: (e: Evidence) => void): Evidence => {
  const copy = structuredClone(good);
  change(copy);
  return copy;
};
/** What somebody with the site's key can do to it: every signature is made anew. */
const resealed = (change: (e: Evidence) => void): Evidence => {
  const copy = tampered(change);
  const again = <T>(purpose: 'journal' | 'report', s: Signed<T>): Signed<T> =>
    JSON.parse(seal(purpose, 'west', world.keys.west, s.document).toString()) as Signed<T>;
  copy.segments = copy.segments.map((s) => again('journal', s));
  copy.journal = copy.journal && again('journal', copy.journal);
  copy.report = copy.report && again('report', copy.report);
  return copy;
};
const first = (e: Evidence): Evidence['segments'][number]['document'] => nth(e.segments, 0).document;

const tamperings: [string, (e: Evidence) => void, string[]][] = [
  ['a line changed', (e) => void ((first(e).lines[1]?.body ?? {})['phase'] = 'x'), ['chain']],
  ['a line removed', (e) => void first(e).lines.splice(1, 1), ['chain']],
  ['lines swapped', (e) => void (first(e).lines = first(e).lines.toReversed()), ['chain']],
  [
    'a line added',
    (e) => void first(e).lines.splice(1, 0, { ...nth(first(e).lines, 0), key: 'declared/1' }),
    ['chain'],
  ],
  ['a segment removed', (e) => void e.segments.shift(), ['chain']],
  ['the last segment removed', (e) => void e.segments.pop(), ['chain', 'report']],
  ['segments swapped', (e) => void (e.segments = e.segments.toReversed()), ['chain']],
  ['a changed report', (e) => void Object.assign(e.report?.document ?? {}, { mismatches: 7 }), ['report']],
  ['the report of another move', (e) => void (e.report = other.report), ['report']],
  ['no report', (e) => void (e.report = null), ['report']],
  [
    'a line changed, and no journal to compare it with',
    (e) => {
      Object.assign(nth(first(e).lines, 1).body, { phase: 'x' });
      e.journal = null;
    },
    ['chain'],
  ],
  [
    'a line removed between two segments, and no journal to compare it with',
    (e) => {
      first(e).lines.pop();
      e.journal = null;
    },
    ['chain'],
  ],
  ['a line less in the journal than in the segments', (e) => void e.journal?.document.lines.pop(), ['chain']],
  ['the journal of another move', (e) => void (e.journal = other.journal), ['chain']],
];

describe('evidence does not hold', () => {
  it.each(tamperings)('with %s', (_, change, checks) => {
    const verdicts = judge(tampered(change));
    expect(failed(verdicts)).toEqual(expect.arrayContaining(checks));
  });

  it.each(tamperings)('with %s, signed anew with the site’s own key', (_, change, checks) => {
    expect(failed(judge(resealed(change)))).toEqual(expect.arrayContaining(checks));
  });

  it('cut after any line: segments, journal and report alike', () => {
    for (let n = 0; n < good.segments.length; n += 1) {
      const cut = tampered((e) => {
        e.segments.length = n;
        e.journal = null;
        e.report = null;
      });
      expect(failed(judge(cut))).toEqual(expect.arrayContaining(['chain', 'report']));
    }
  });

  it('under a key that is not the site’s: unknown, the peer’s, or named so by the file itself', () => {
    const stranger = generateKeyPairSync('ed25519');
    const swapped = new Map([...world.settings.publicKeys, ['west', stranger.publicKey] as const]);
    expect(failed(judge(good, swapped))).toEqual(['keys', 'signatures']);
    expect(failed(judge(good, new Map()))).toEqual(['keys', 'signatures']);
    const forged = tampered((e) => {
      e.publicKeys['west'] = fingerprint(stranger.publicKey);
      e.segments = e.segments.map(
        (s) => JSON.parse(seal('journal', 'west', stranger.privateKey, s.document).toString()) as typeof s,
      );
    });
    expect(failed(judge(forged))).toEqual(['keys', 'signatures']);
    const peers = tampered((e) => {
      e.segments = e.segments.map(
        (s) => JSON.parse(seal('journal', 'east', world.keys.east, s.document).toString()) as typeof s,
      );
    });
    expect(failed(judge(peers))).toEqual(['signatures']);
  });

  it.each<[string, (d: Draft) => void, string, string]>([
    ['one approval', (d) => void d.entries.splice(5, 1), 'approvals', 'began with the approval of al (commander)'],
    [
      'one operator twice',
      (d) => void d.entries.splice(5, 1, { ...d.sign('al'), key: 'signed/again' }),
      'approvals',
      'approval of al (commander);',
    ],
    ['no commander', (d) => void d.entries.splice(4, 1, d.sign('cy')), 'approvals', 'approval of cy, bo;'],
    [
      'the steps before the approval',
      (d) => d.entries.splice(4, 0, ...d.entries.splice(7, 1)),
      'effects',
      'comes before the approval',
    ],
    ['steps and no approval at all', (d) => void d.entries.splice(4, 3), 'effects', 'comes before the approval'],
    [
      'a changed word under a signature',
      (d) => void (d.entries[5] = d.sign('bo', { because: 'another reason' })),
      'operators',
      'does not hold under the key of bo',
    ],
    [
      'the signature of nobody in the plan',
      (d) => void (d.entries[5] = d.sign('zz')),
      'operators',
      '"zz" is not an operator',
    ],
    [
      'a signature used twice',
      (d) => void d.entries.splice(6, 0, { ...nth(d.entries, 4), key: 'signed/replayed' }),
      'operators',
      'was used before',
    ],
    [
      'a signature for another plan',
      (d) => void (d.entries[5] = d.sign('bo', {}, 'ab'.repeat(32))),
      'approvals',
      'approval of al (commander)',
    ],
    [
      'a signature that had lapsed',
      (d) => void (d.entries[6] = { ...nth(d.entries, 6), at: '2026-03-01T05:00:10.500Z' }),
      'approvals',
      'approval of bo;',
    ],
    [
      'a plan that is not what was digested',
      (d) => void (nth(d.entries, 2).body['decisions'] = { ...d.decisions, epoch: 3 }),
      'plan',
      'its decisions give',
    ],
    [
      'a turn-back that one operator signed',
      (d) => {
        const { move } = d.report;
        const word = d.sign('al', { verb: 'turn-back' });
        d.entries.splice(8, 0, { ...word, key: 'signed/back' });
        d.entries.splice(
          9,
          0,
          entryOf(move, 'effect/back', 'step', 21, { step: 'turn-back', round: 0, state: 'done' }),
        );
      },
      'effects',
      'turned back before two operators had signed that',
    ],
    ['the report naming another plan', (d) => void (d.report.planDigest = 'ff'), 'plan', 'the report names plan ff'],
  ])('with %s, though the site has signed it all', async (_, change, check, told) => {
    const verdicts = judge(await tell(world, change));
    expect(failed(verdicts)).toContain(check);
    expect(seen(verdicts, check)).toContain(told);
    expect(failed(verdicts)).not.toContain('signatures');
    expect(failed(verdicts)).not.toContain('chain');
  });

  it('when it has not the shape of evidence, and says so without failing itself', () => {
    for (const part of ['segments', 'journal', 'report'] as const) {
      for (const value of [7, 'x', [null], { document: null }]) {
        const odd = tampered((e) => Object.assign(e, { [part]: value }));
        expect(failed(judge(odd)).length, `${part} = ${JSON.stringify(value)}`).toBeGreaterThan(0);
      }
    }
  });
});

describe('evidence holds', () => {
  it('as the vault has it, by the segments, and by the closing document alone', () => {
    expect(judge(good).filter((v) => !v.ok)).toEqual([]);
    expect(failed(judge(tampered((e) => void (e.segments = []))))).toEqual([]);
    expect(failed(judge(tampered((e) => void (e.journal = null))))).toEqual([]);
    expect(seen(judge(good), 'approvals')).toBe(
      'al (commander), bo, before the first step at 2026-03-01T04:00:20.000Z',
    );
  });

  it('of a move that was aborted before anybody signed', async () => {
    const aborted = await tell(world, (d) => {
      d.entries.splice(4);
      d.entries.push(entryOf(d.report.move, 'phase/9', 'phase', 30, { phase: 'aborted' }));
      d.report.outcome = 'aborted';
    });
    expect(judge(aborted).filter((v) => !v.ok)).toEqual([]);
    expect(seen(judge(aborted), 'approvals')).toBe('no step was begun, so none was needed');
  });
});
