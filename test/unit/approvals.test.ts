import { generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  agreed,
  approvalOf,
  refuse,
  signedText,
  type Approval,
  type Claim,
  type SignedVerb,
  type Verb,
} from '../../workflows/model/approvals.ts';
import type { Role } from '../../workflows/model/plan.ts';

const now = Date.parse('2030-01-01T00:00:00.000Z');
const people = new Map<string, KeyObject>();

function operator(id: string, roles: Role[]): { id: string; key: string; roles: Role[] } {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  people.set(id, privateKey);
  return { id, key: publicKey.export({ format: 'der', type: 'spki' }).subarray(-32).toString('hex'), roles };
}

const approvers = [
  operator('one', ['approve']),
  operator('two', ['approve', 'commander']),
  operator('watcher', ['declare']),
];
operator('stranger', ['approve']);

const claim: Claim = {
  customer: 'contoso',
  move: 'm1',
  epoch: 2,
  digest: 'd1'.repeat(32),
  approvers,
  usedNonces: new Set(),
  now,
};

function signed(
  by: string,
  change: Partial<SignedVerb> = {},
  context: Pick<Claim, 'customer' | 'move' | 'epoch'> = claim,
): SignedVerb {
  const v = {
    verb: 'approve' as Verb,
    operator: by,
    digest: claim.digest,
    nonce: randomBytes(16).toString('hex'),
    expires: new Date(now + 3_600_000).toISOString(),
    ...change,
  };
  const key = people.get(by);
  if (!key) throw new Error(by);
  return { ...v, signature: sign(null, Buffer.from(signedText(context, v)), key).toString('hex') };
}

describe('a signed verb is refused', () => {
  it('before there is a plan, whoever signed it and for whatever', () => {
    const planless = { ...claim, epoch: null, digest: '', approvers: [] };
    for (const v of [signed('one'), signed('one', { digest: '' }, planless)])
      expect(refuse(planless, v)).toMatch(/^there is no plan yet/);
  });
  it('when its operator is not in the plan, also with a sound signature', () => {
    expect(refuse(claim, signed('stranger'))).toMatch(/not an operator of this plan/);
  });
  it('when the operator has no right to it', () => {
    expect(refuse(claim, signed('watcher'))).toMatch(/may not approve/);
    expect(refuse(claim, signed('one', { verb: 'retry', step: 'fence', round: 1 }))).toMatch(/may not retry/);
  });
  it('when it was signed over another digest, customer, move or epoch', () => {
    expect(refuse(claim, signed('one', {}, { ...claim, move: 'm0' }))).toMatch(/does not hold/);
    expect(refuse(claim, signed('one', { digest: 'ee'.repeat(32) }))).toMatch(/read it again/);
    expect(refuse(claim, signed('one', {}, { ...claim, customer: 'other' }))).toMatch(/does not hold/);
    expect(refuse(claim, signed('one', {}, { ...claim, epoch: 3 }))).toMatch(/does not hold/);
  });
  it('when anything was changed after signing', () => {
    const v = signed('one');
    for (const change of [
      { because: 'x' },
      { step: 'fence' },
      { round: 1 },
      { expires: new Date(now + 1000).toISOString() },
      { nonce: 'ab'.repeat(16) },
    ]) {
      expect(refuse(claim, { ...v, ...change })).toMatch(/does not hold/);
    }
    expect(refuse(claim, { ...v, operator: 'two' })).toMatch(/does not hold/);
  });
  it('when it has expired, lives too long, or says no time at all', () => {
    expect(refuse(claim, signed('one', { expires: new Date(now).toISOString() }))).toMatch(/expired/);
    expect(refuse(claim, signed('one', { expires: new Date(now + 7_200_000).toISOString() }))).toMatch(
      /at most an hour/,
    );
    expect(refuse(claim, signed('one', { expires: 'tomorrow' }))).toMatch(/expired/);
  });
  it('when its nonce was used, or is none', () => {
    const v = signed('one');
    expect(refuse({ ...claim, usedNonces: new Set([v.nonce]) }, v)).toMatch(/used before/);
    expect(refuse(claim, signed('one', { nonce: 'short' }))).toMatch(/nonce/);
  });
  it('from the moment on at which the key of its operator ends, or cannot be read', () => {
    const ending = (expires: string, at = now): string | null => {
      const changed = approvers.map((a) => (a.id === 'one' ? { ...a, expires } : a));
      return refuse({ ...claim, approvers: changed, now: at }, signed('one'));
    };
    expect(ending(new Date(now).toISOString())).toMatch(/the key of one expired at 2030-01-01T00:00:00\.000Z/);
    expect(ending('next summer')).toMatch(/the key of one expired/);
    expect(ending(new Date(now + 1000).toISOString())).toBeNull();
    expect(ending(new Date(now + 1000).toISOString(), now + 1000)).toMatch(/the key of one expired/);
  });
  it('when it does not accept what the plan asks, word for word, or more', () => {
    const asking = { ...claim, acceptances: ['data-loss 20h12m', 'source-is-serving'] };
    expect(refuse(asking, signed('one'))).toBe(
      'whoever approves this plan accepts data-loss 20h12m; source-is-serving: add --accept "data-loss 20h12m" --accept "source-is-serving"',
    );
    expect(refuse(asking, signed('one', { accepts: ['data-loss 20h12m'] }))).toMatch(
      /add --accept "source-is-serving"/,
    );
    const whole = ['source-is-serving', 'data-loss 20h12m'];
    expect(refuse(asking, signed('one', { accepts: [...whole, 'anything'] }))).toMatch(/nothing asks to accept "anyth/);
    expect(refuse(asking, signed('one', { accepts: [...whole, ...whole] }))).toMatch(/accepted twice/);
    expect(refuse(claim, signed('one', { accepts: ['source-is-serving'] }))).toMatch(/nothing asks to accept/);
    expect(refuse(asking, signed('two', { verb: 'abort', accepts: whole }))).toMatch(/nothing asks to accept/);
    expect(refuse(asking, { ...signed('one'), accepts: whole })).toMatch(/does not hold/);
    for (const accepts of [[], 'source-is-serving', null] as unknown as string[][])
      expect(refuse(asking, { ...signed('one'), accepts })).toMatch(/a list of texts is expected/);
    expect(refuse(asking, signed('one', { accepts: whole }))).toBeNull();
    expect(refuse(asking, signed('two', { verb: 'abort' }))).toBeNull();
  });
  it('when it would break the glass, and its operator may not, or it is no approval', () => {
    expect(refuse(claim, signed('one', { breakGlass: true }))).toMatch(/one may not break the glass/);
    expect(refuse(claim, signed('two', { breakGlass: true, verb: 'abort' }))).toMatch(/only an approve has it/);
    expect(refuse(claim, { ...signed('two'), breakGlass: true })).toMatch(/does not hold/);
    for (const breakGlass of [false, 'true', null] as unknown as true[])
      expect(refuse(claim, { ...signed('two'), breakGlass })).toMatch(/only as true/);
    const { breakGlass: _, ...ordinary } = signed('two', { breakGlass: true });
    expect(refuse(claim, ordinary)).toMatch(/does not hold/);
    expect(refuse(claim, signed('two', { breakGlass: true }))).toBeNull();
  });
  it('when what was signed is given another meaning by line breaks', () => {
    const accepting = signed('one', { accepts: ['data-loss 20h12m'] });
    const { accepts, ...bare } = accepting;
    const step = `-\nround: 0\noperator: one`;
    expect(refuse(claim, { ...bare, digest: `${claim.digest}\naccepts: ${accepts?.[0]}` })).toMatch(/read it again/);
    expect(refuse(claim, { ...bare, step })).toMatch(/does not hold/);
  });
  it('when the signature is no signature', () => {
    for (const signature of ['', 'zz', '00', '00'.repeat(64), 'ff'.repeat(64)]) {
      expect(refuse(claim, { ...signed('one'), signature })).toMatch(/does not hold/);
    }
  });
});

describe('two operators agree', () => {
  const by = (id: string, commander: boolean, expiresAt = now + 1000): Approval => ({
    operator: id,
    key: `key of ${id}`,
    commander,
    receivedAt: now,
    expiresAt,
  });

  it('accepts what a listed operator signed', () => {
    expect(refuse(claim, signed('one'))).toBeNull();
    expect(refuse(claim, signed('two', { because: 'Größe 🚒' }))).toBeNull();
  });
  it('takes two different ones, one of them a commander', () => {
    expect(agreed([by('one', false), by('two', true)], 2, now)).toBe(true);
    expect(agreed([by('two', true)], 2, now)).toBe(false);
    expect(agreed([by('two', true), by('two', true)], 2, now)).toBe(false);
    expect(agreed([by('one', false), by('three', false)], 2, now)).toBe(false);
  });
  it('is not one person under two names', () => {
    expect(agreed([by('one', false), { ...by('two', true), key: 'key of one' }], 2, now)).toBe(false);
  });
  it('counts only signatures that live, and none for longer than its key', () => {
    expect(agreed([by('one', false, now), by('two', true)], 2, now)).toBe(false);
    const ends = new Date(now + 600_000).toISOString();
    const ending = approvers.map((a) => (a.id === 'one' ? { ...a, expires: ends } : a));
    const given = ['one', 'two'].map((id) => approvalOf(ending, signed(id), now));
    expect(given.map((a) => a.commander)).toEqual([false, true]);
    expect(agreed(given, 2, now + 599_999)).toBe(true);
    expect(agreed(given, 2, now + 600_000)).toBe(false);
  });
});
