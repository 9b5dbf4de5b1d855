import { generateKeyPairSync, sign } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { whyNotAdded, type Seen } from '../../ops/customers/add.ts';
import { rawHex } from '../../ops/keys.ts';
import {
  customerStanding,
  customerWordText,
  decisionHolds,
  whyNotNow,
  whyWordRefused,
  wordsTogether,
  type CustomerRecord,
  type CustomerWord,
  type Decision,
} from '../../workflows/model/customer.ts';
import type { Approver } from '../../workflows/model/plan.ts';

/** Which state records come to, what may be said in it, and what stands against a new customer. */

const NOW = Date.parse('2030-05-01T12:00:00Z');
const sites = ['east', 'west'];
const head = (site: string, at = '2030-01-01T00:00:00.000Z') => ({ format: 1 as const, customer: 'acme', site, at });
const joined = (site: string, keys = { k1: 'aaaa1111' }): CustomerRecord & { kind: 'joined' } => ({
  ...head(site),
  kind: 'joined',
  domain: 'acme.example',
  sites,
  keys,
  database: 'id',
  escrow: { madeAt: 'then' },
});
const pairs = Object.fromEntries(['al', 'bo', 'cy'].map((id) => [id, generateKeyPairSync('ed25519')]));
const operators: Approver[] = Object.entries(pairs).map(([id, { publicKey }]) => ({
  id,
  key: rawHex(publicKey),
  roles: id === 'bo' ? ['approve', 'commander'] : ['approve'],
}));
let nonces = 0;
function word(operator: string, change: Partial<CustomerWord> = {}): CustomerWord {
  const draft = {
    verb: 'leave' as const,
    customer: 'acme',
    decision: 1,
    on: '2030-06-01T00:00:00.000Z',
    operator,
    because: 'its contract ends',
    nonce: (nonces += 1).toString(16).padStart(32, '0'),
    expires: new Date(NOW + 3_600_000).toISOString(),
    ...change,
  };
  const key = pairs[operator]?.privateKey;
  return { ...draft, signature: key ? sign(null, Buffer.from(customerWordText(draft)), key).toString('hex') : '' };
}
const decision = (number: number, verb: 'leave' | 'stay', on = '2030-06-01T00:00:00.000Z'): CustomerRecord => ({
  ...head('east', `2030-02-0${number}T00:00:00.000Z`),
  kind: 'decision',
  number,
  verb,
  on: verb === 'leave' ? on : null,
  because: 'so',
  words: [],
});
const destroying = (site: string): CustomerRecord => ({
  ...head(site),
  kind: 'destroying',
  decision: 1,
  keys: {},
  word: word('al'),
});
const destroyed = (site: string): CustomerRecord => ({
  ...head(site),
  kind: 'destroyed',
  decision: 1,
  keys: [],
  decidedBy: [],
  carriedOutBy: 'al',
});
const found: CustomerRecord = { ...head('west'), kind: 'protected', covered: [], test: { site: 'west', run: 'r' } };
const stateOf = (...records: CustomerRecord[]): string => customerStanding(records, sites).state;

describe('the state of a customer', () => {
  it('is gone only when both sites have destroyed its keys, whatever else is recorded', () => {
    const both = [joined('east'), joined('west'), found, decision(1, 'leave')];
    expect(stateOf(...both, destroying('east'), destroyed('east'))).toBe('leaving');
    expect(stateOf(...both, decision(2, 'stay'), destroying('east'))).toBe('leaving');
    expect(stateOf(...both, destroyed('east'), destroyed('west'))).toBe('gone');
    // Also when no configuration names it any more.
    expect(customerStanding([...both, destroyed('east')], null).state).toBe('leaving');
    expect(customerStanding([...both, destroyed('east'), destroyed('west')], null).state).toBe('gone');
  });

  it('goes by the newest decision, and by what was found before', () => {
    expect(stateOf()).toBe('unrecorded');
    expect(stateOf(joined('east'))).toBe('joining');
    expect(stateOf(joined('east'), found)).toBe('protected');
    expect(stateOf(joined('east'), decision(1, 'leave'))).toBe('leaving');
    expect(stateOf(joined('east'), found, decision(2, 'stay'), decision(1, 'leave'))).toBe('protected');
    expect(customerStanding([decision(1, 'leave'), decision(2, 'stay')], sites).next).toBe(3);
  });

  it('says what may be done in it', () => {
    const leaving = customerStanding([joined('east'), decision(1, 'leave')], sites);
    expect(whyNotNow('leave', leaving, NOW)).toMatch(/is leaving already/);
    expect(whyNotNow('stay', leaving, NOW)).toBeNull();
    expect(whyNotNow('destroy', leaving, NOW)).toMatch(/leaves on 2030-06-01.*may be taken back until then/);
    expect(whyNotNow('destroy', leaving, Date.parse('2030-06-01T00:00:00Z'))).toBeNull();
    const begun = customerStanding([decision(1, 'leave'), destroying('west')], sites);
    expect(whyNotNow('stay', begun, NOW)).toBe('west began to destroy its keys: there is no way back');
    const stays = customerStanding([joined('east')], sites);
    for (const verb of ['stay', 'destroy'] as const)
      expect(whyNotNow(verb, stays, NOW)).toBe('nobody has decided that it leaves');
  });
});

describe('the word of an operator', () => {
  const standing = customerStanding([joined('east')], sites);
  const refused = (w: CustomerWord, used = new Set<string>()): string | null =>
    whyWordRefused(operators, w, { customer: 'acme', standing, used, now: NOW });

  it('does not count for another customer, decision or day, nor twice, nor unsigned, nor without a reason', () => {
    const good = word('al');
    expect(refused(good)).toBeNull();
    expect(refused({ ...good, on: '2030-05-02T00:00:00.000Z' })).toMatch(/does not hold under the key of al/);
    expect(refused(word('al', { customer: 'other' }))).toMatch(/signed for other/);
    expect(refused(word('al', { decision: 2 }))).toMatch(/by now it is 1/);
    expect(refused(word('al', { because: ' ' }))).toBe('it says no reason');
    expect(refused(word('eve'))).toMatch(/"eve" is no operator/);
    expect(refused(good, new Set([good.nonce]))).toMatch(/used before/);
    expect(refused(word('al', { verb: 'destroy', on: null }))).toMatch(/by now it is taken back/);
  });

  it('counts with a second one for the same day, one of them a commander’s', () => {
    const agreed = (...words: CustomerWord[]): boolean => {
      const last = words.at(-1);
      return last ? wordsTogether(operators, words.slice(0, -1), last, NOW).agreed : false;
    };
    expect(agreed(word('al'))).toBe(false);
    expect(agreed(word('al'), word('cy'))).toBe(false);
    expect(agreed(word('bo'), word('bo'))).toBe(false);
    expect(agreed(word('bo', { on: '2031-01-01T00:00:00.000Z' }), word('al'))).toBe(false);
    expect(agreed(word('bo', { expires: new Date(NOW - 1).toISOString() }), word('al'))).toBe(false);
    // A site can say that it took a word: it cannot sign one.
    expect(agreed({ ...word('al'), operator: 'bo' }, word('al'))).toBe(false);
    expect(agreed(word('al'), word('bo'))).toBe(true);
  });

  it('makes a decision at the other site only when two of its operators have signed that very one', () => {
    const said = (words: CustomerWord[], change: object = {}): Decision => ({
      ...head('west', new Date(NOW).toISOString()),
      kind: 'decision',
      number: 1,
      verb: 'leave',
      on: '2030-06-01T00:00:00.000Z',
      because: 'so',
      words,
      ...change,
    });
    const both = [word('al'), word('bo')];
    expect(decisionHolds(operators, said(both))).toBe(true);
    expect(decisionHolds(operators, said([word('bo')]))).toBe(false);
    expect(decisionHolds(operators, said(both, { on: '2030-05-01T00:00:00.000Z' }))).toBe(false);
    expect(decisionHolds(operators, said(both, { number: 3 }))).toBe(false);
    expect(decisionHolds(operators, said([{ ...word('al'), operator: 'bo' }, word('al')]))).toBe(false);
    expect(decisionHolds(operators.slice(0, 1), said(both))).toBe(false);
  });
});

describe('a customer that is added', () => {
  const seen = (change: Partial<Seen> = {}, records: CustomerRecord[] = [], silent: string[] = []): Seen => ({
    customer: { id: 'acme', domain: 'acme.example', sites: ['east', 'west'] },
    site: 'east',
    domain: 'acme.example',
    keys: { k1: 'aaaa1111' },
    gathered: { records, standing: customerStanding(records, sites), silent },
    usedVault: false,
    identity: null,
    escrow: [{ id: 'k1', says: 'same' }],
    ...change,
  });
  const faults = (...of: Parameters<typeof seen>): string[] => whyNotAdded(seen(...of)).map(({ message }) => message);

  it('is told everything at once', () => {
    const all = faults(
      {
        domain: 'other.example',
        keys: { k1: 'bbbb2222' },
        identity: { customer: 'globex', site: 'east' },
        escrow: [{ id: 'k1', says: 'differs' }],
      },
      [joined('west'), destroyed('west')],
      ['vault of west: silent'],
    );
    expect(all).toEqual([
      expect.stringContaining('whether its id is free is not known: vault of west: silent'),
      expect.stringContaining('an id is never given again'),
      expect.stringContaining('its domain is acme.example in the configuration, not other.example'),
      expect.stringContaining('its database at east says it is that of globex at east'),
      expect.stringContaining('its ring at east is k1 bbbb2222, at west it was k1 aaaa1111'),
      expect.stringContaining('its escrow is not its ring: key k1 differs'),
    ]);
  });

  it('needs a free id, an escrow once, and nothing more', () => {
    expect(faults()).toEqual([]);
    expect(faults({ escrow: null })).toEqual([
      expect.stringContaining('nobody has shown that its keys lie in an escrow'),
    ]);
    expect(faults({ escrow: null }, [joined('west')])).toEqual([]);
    expect(faults({ usedVault: true })).toEqual([expect.stringContaining('the id was used before')]);
    // One that has run for long, and is recorded only now.
    expect(faults({ usedVault: true, identity: { customer: 'acme', site: 'east' } })).toEqual([]);
    expect(faults({}, [{ ...joined('west'), domain: 'old.example' }])).toEqual([
      expect.stringContaining('was added at west with old.example'),
    ]);
  });
});
