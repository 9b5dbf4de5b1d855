import { describe, expect, it } from 'vitest';
import { whyRefused } from '../../activities/vault/accept.ts';
import { operatorWarnings, tooFewKeys } from '../../ops/operators.ts';
import type { Approver, Role } from '../../workflows/model/plan.ts';

const DAY = 24 * 3_600_000;
const now = Date.parse('2030-01-01T00:00:00.000Z');
const person = (id: string, roles: Role[], inDays?: number): Approver => ({
  id,
  key: id,
  roles,
  ...(inDays !== undefined && { expires: new Date(now + inDays * DAY).toISOString() }),
});

describe('keys that end', () => {
  it('let no snapshot count and nobody out of quarantine any more', () => {
    const word = { operator: 'one', text: 'x', signature: '00'.repeat(64) };
    expect(whyRefused([person('one', ['approve'], -2000)], word)).toMatch(/^the key of one expired at/);
  });

  it('are told 30 days before, and when it is too late', () => {
    const all = [
      person('one', ['approve'], 31),
      person('two', ['approve'], 29),
      person('three', ['operate'], 0),
      person('four', ['commander']),
    ];
    expect(operatorWarnings(all, now).map((w) => `${w.operator}: ${w.text}`)).toEqual([
      'two: his key expires at 2030-01-30T00:00:00.000Z, in 29 d 0 h',
      'three: his key expired at 2030-01-01T00:00:00.000Z: nothing he signs counts',
    ]);
  });

  it('are too few when fewer than two may approve, or no commander', () => {
    expect(tooFewKeys([person('one', ['approve'], 1), person('two', ['commander'])], now)).toBeNull();
    expect(tooFewKeys([person('one', ['approve'], 0), person('two', ['commander'])], now)).toMatch(
      /^operators: 1 of 2 who may approve have a key that has not expired, 1 of them commander/,
    );
    expect(
      tooFewKeys([person('one', ['approve']), person('two', ['commander'], -1), person('x', ['approve'])], now),
    ).toMatch(/^operators: 2 of 3 .* 0 of them commander/);
    expect(tooFewKeys([person('one', ['operate']), person('two', ['commander'])], now)).toMatch(/^operators: 1 of 1/);
  });
});
