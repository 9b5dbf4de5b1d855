import { generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  agreed,
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
  it('when the signature is no signature', () => {
    for (const signature of ['', 'zz', '00', '00'.repeat(64), 'ff'.repeat(64)]) {
      expect(refuse(claim, { ...signed('one'), signature })).toMatch(/does not hold/);
    }
  });
});

describe('two operators agree', () => {
  const by = (id: string, commander: boolean, expiresAt = now + 1000): Approval => ({
    operator: id,
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
  it('counts only signatures that live', () => {
    expect(agreed([by('one', false, now), by('two', true)], 2, now)).toBe(false);
  });
});
