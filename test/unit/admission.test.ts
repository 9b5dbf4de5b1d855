import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { admissionText, judgeOperators, type Anchored } from '../../activities/services/admission.ts';
import type { Operator } from '../../activities/settings.ts';
import { rawHex } from '../../ops/keys.ts';
import type { Role } from '../../workflows/model/plan.ts';

/** Attempts to become an approver by editing a file. Al is a commander; al, bo and cy founded the database. */

const now = Date.parse('2030-01-01T00:00:00.000Z');
const at = (days: number): string => new Date(now + days * 24 * 3_600_000).toISOString();
const keys = new Map<string, KeyObject>();
function person(id: string, roles: Role[] = ['approve'], expires?: string): Operator {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  keys.set(id, privateKey);
  return { id, key: rawHex(publicKey), roles, ...(expires !== undefined && { expires }) };
}
const [al, bo, cy, eve, zed] = [person('al', ['commander']), person('bo'), person('cy'), person('eve'), person('zed')];
const old = person('old');
const founders: Anchored[] = [al, bo, cy].map((o) => ({ ...o, removedAt: null }));
const left = (o: Operator, when: string): Anchored => ({ ...o, removedAt: when });

/** The entry with admissions by these, each with a key of its own name unless it is told. */
function admitted(o: Operator, by: string[], when = at(-1), signedBy: (by: string) => string = (b) => b): Operator {
  const admissions = by.map((b) => {
    const key = keys.get(signedBy(b));
    if (!key) throw new Error(b);
    return {
      by: b,
      at: when,
      signature: sign(null, Buffer.from(admissionText(o, { by: b, at: when })), key).toString('hex'),
    };
  });
  return { ...o, admitted: admissions };
}
const ids = (operators: Operator[], anchored = founders): string[] =>
  judgeOperators(anchored, operators, now).admitted.map((o) => o.id);
const because = (operators: Operator[], anchored = founders): string =>
  judgeOperators(anchored, operators, now)
    .notAdmitted.map((n) => `${n.operator}: ${n.because}`)
    .join('\n');

describe('an entry of the configuration does not count', () => {
  it('because it is there, or because its key, roles or expiry are others now', () => {
    expect(because([al, bo, cy, eve])).toMatch(/^eve: admitted by nobody; it takes two operators/);
    for (const change of [{ key: eve.key }, { roles: ['commander' as const] }, { expires: at(400) }]) {
      expect(ids([al, { ...bo, ...change }, cy])).toEqual(['al', 'cy']);
    }
    expect(ids([{ ...eve, id: 'al', roles: ['commander'] }, { ...zed, id: 'bo' }, cy])).toEqual(['cy']);
  });

  it('by one admission, one given twice, two without a commander, or its own', () => {
    expect(because([al, bo, cy, admitted(eve, ['al'])])).toMatch(/^eve: admitted by al;/);
    expect(because([al, bo, cy, admitted(eve, ['al', 'al'])])).toMatch(/^eve: admitted by al;/);
    expect(because([al, bo, cy, admitted(eve, ['bo', 'cy'])])).toMatch(/^eve: admitted by bo, cy; .* a commander/);
    expect(because([al, bo, cy, admitted(eve, ['al', 'eve'])])).toMatch(/eve is no admitted operator/);
    expect(ids([al, bo, cy, admitted(eve, ['al', 'zed']), admitted(zed, ['al', 'eve'])])).toEqual(['al', 'bo', 'cy']);
  });

  it('by signatures that are forged, for another entry, or of somebody who may not', () => {
    expect(because([al, bo, cy, admitted(eve, ['al', 'bo'], at(-1), () => 'eve')])).toMatch(
      /al did not sign this entry/,
    );
    const other = { ...admitted(eve, ['al', 'bo']), roles: ['commander' as const] };
    expect(because([al, bo, cy, other])).toMatch(/did not sign this entry as it stands/);
    const longer = { ...admitted(eve, ['al', 'bo']), expires: at(900) };
    expect(because([al, bo, cy, longer])).toMatch(/did not sign this entry as it stands/);
    expect(because([al, bo, cy, { ...admitted(zed, ['al', 'bo']), key: eve.key }])).toMatch(/did not sign this entry/);
    const clerk = person('clerk', ['operate']);
    const withClerk: Anchored[] = [...founders, { ...clerk, removedAt: null }];
    expect(because([al, bo, cy, clerk, admitted(eve, ['al', 'clerk'])], withClerk)).toMatch(/clerk lacks the role/);
  });

  it('by the key of somebody who left, or whose key had expired', () => {
    const anchored = [...founders, left(old, at(-2))];
    expect(because([al, bo, cy, admitted(eve, ['al', 'old'], at(-9))], anchored)).toMatch(
      /old is no admitted operator/,
    );
    expect(because([al, bo, admitted(eve, ['al', 'cy'])])).toMatch(/cy is no admitted operator/);
    const ending = person('ending', ['approve'], at(0));
    const withEnding: Anchored[] = [...founders, { ...ending, removedAt: null }];
    const late = admitted(eve, ['al', 'ending'], at(-9));
    expect(because([al, bo, cy, ending, late], withEnding)).toMatch(/ending has a key that expired/);
  });

  it('again, after it left: neither its entry, nor its admission, nor its key under another name', () => {
    const anchored = [...founders, left(old, at(-2))];
    expect(ids([al, bo, cy, old], anchored)).toEqual(['al', 'bo', 'cy']);
    expect(because([al, bo, cy, admitted(old, ['al', 'bo'], at(-3))], anchored)).toMatch(/before old or his key left/);
    const renamed = admitted({ ...old, id: 'new' }, ['al', 'bo'], at(-3));
    expect(because([al, bo, cy, renamed], anchored)).toMatch(/before new or his key left/);
    expect(because([al, bo, cy, admitted(eve, ['al', 'bo'], at(1))])).toMatch(/which is to come/);
    expect(ids([al, bo, cy, admitted(old, ['al', 'bo'], at(-1))], anchored)).toEqual(['al', 'bo', 'cy', 'old']);
  });

  it('in a database that has no founders', () => {
    expect(ids([al, bo, admitted(eve, ['al', 'bo'])], [])).toEqual([]);
  });
});

describe('an operator', () => {
  it('is admitted by two, one of them a commander, and may then admit the next', () => {
    const { admitted: all, fresh } = judgeOperators(
      founders,
      [admitted(zed, ['eve', 'al']), al, bo, cy, admitted(eve, ['al', 'bo'])],
      now,
    );
    expect(all.map((o) => o.id)).toEqual(['al', 'bo', 'cy', 'eve', 'zed']);
    expect(fresh.map((o) => o.id)).toEqual(['eve', 'zed']);
  });

  it('changes his key with his present one and another operator', () => {
    const next = person('al-next', ['commander']);
    const change = { ...next, id: 'al' };
    expect(ids([admitted(change, ['al', 'bo']), bo, cy])).toEqual(['al', 'bo', 'cy']);
    expect(ids([admitted(change, ['al', 'bo'], at(-1), (b) => (b === 'al' ? 'al-next' : b)), bo, cy])).toEqual([
      'bo',
      'cy',
    ]);
  });

  it('leaves when he is taken out, unless those who stay could admit nobody; a changed entry is no leaving', () => {
    const gone = (operators: Operator[]): string[] => judgeOperators(founders, operators, now).gone;
    expect(gone([al, bo])).toEqual(['cy']);
    expect(gone([bo, cy])).toEqual([]);
    expect(gone([al])).toEqual([]);
    expect(gone([eve, zed])).toEqual([]);
    expect(gone([al, bo, { ...cy, roles: ['operate'] }])).toEqual([]);
  });
});
