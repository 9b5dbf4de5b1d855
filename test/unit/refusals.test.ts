import { generateKeyPairSync, sign } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { remedyFor } from '../../ops/refusals.ts';
import { refuse, signedText, type Claim, type SignedVerb } from '../../workflows/model/approvals.ts';

/** A word that is refused, and what its giver is told to do: the reasons are the model's own. */

const now = Date.parse('2030-01-01T00:00:00.000Z');
const pair = generateKeyPairSync('ed25519');
const key = pair.publicKey.export({ format: 'der', type: 'spki' }).subarray(-32).toString('hex');
const claim: Claim = {
  customer: 'contoso',
  move: 'm1',
  epoch: 2,
  digest: 'd1'.repeat(32),
  approvers: [
    { id: 'one', key, roles: ['approve'] },
    { id: 'old', key, roles: ['approve'], expires: new Date(now - 1).toISOString() },
    { id: 'watcher', key, roles: ['declare'] },
  ],
  usedNonces: new Set(['ab'.repeat(16)]),
  now,
};

/** As the operator reads it. */
function told(change: Partial<SignedVerb>, asked: Partial<Claim> = {}): string | null {
  const expires = new Date(now + 3_600_000).toISOString();
  const word = { verb: 'approve' as const, operator: 'one', digest: claim.digest, nonce: 'cd'.repeat(16), expires };
  const v = { ...word, ...change };
  const signature = sign(null, Buffer.from(signedText(claim, v)), pair.privateKey).toString('hex');
  const why = refuse({ ...claim, ...asked }, { ...v, signature, ...change });
  expect(why).not.toBeNull();
  return remedyFor(`contoso: ${why}`);
}

describe('a refused word', () => {
  it.each([
    ['of a stranger', { operator: 'nobody' }, {}, /admitted before it starts/],
    ['of one without the role', { operator: 'watcher' }, {}, /Ask somebody who has that role/],
    ['that accepts too little', {}, { acceptances: ['data-loss 9h'] }, /the same command with what it names/],
    ['that accepts too much', { accepts: ['all'] }, {}, /without that `--accept`/],
    ['under a key that has ended', { operator: 'old' }, {}, /Another operator signs/],
    ['that another key has signed', { signature: '00'.repeat(64) }, {}, /private half of the key/],
    ['that was given before', { nonce: 'ab'.repeat(16) }, {}, /signed anew/],
    ['that came too late', { expires: new Date(now - 1).toISOString() }, {}, /signed anew/],
    ['by a clock that is ahead', { expires: new Date(now + 9_000_000).toISOString() }, {}, /Set the clock/],
  ])('%s says what to do about just that', (_, change, asked, next) => {
    expect(told(change, asked)).toMatch(next);
  });

  it('for another plan leaves it to the status, which shows the plan that is to be read', () => {
    expect(told({ digest: '00'.repeat(32) })).toBeNull();
  });
});
