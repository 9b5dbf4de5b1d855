import { describe, expect, it } from 'vitest';
import type { Approval } from '../../workflows/model/approvals.ts';
import { BREAK_GLASS_MS, standsAlone, type BreakGlass } from '../../workflows/model/break-glass.ts';

const now = 1_900_000_000_000;
const glass: BreakGlass = {
  operator: 'two',
  because: 'x',
  digest: 'd',
  nonce: 'n',
  pagedAt: now,
  sent: ['hook'],
  stoppedBy: null,
};
const word: Approval = { operator: 'two', key: 'k', commander: true, receivedAt: now, expiresAt: now + 3_600_000 };

describe('one commander alone', () => {
  it('is not enough before ten minutes, unpaged, stopped, lapsed, or by the word of another', () => {
    const after = now + BREAK_GLASS_MS;
    expect(BREAK_GLASS_MS).toBe(600_000);
    expect(standsAlone(glass, [word], after - 1)).toBe(false);
    expect(standsAlone({ ...glass, pagedAt: null }, [word], after)).toBe(false);
    expect(standsAlone({ ...glass, stoppedBy: 'one' }, [word], after)).toBe(false);
    expect(standsAlone(glass, [], after)).toBe(false);
    expect(standsAlone(glass, [{ ...word, expiresAt: after }], after)).toBe(false);
    expect(standsAlone(glass, [{ ...word, operator: 'one' }], after)).toBe(false);
    expect(standsAlone(glass, [{ ...word, commander: false }], after)).toBe(false);
    expect(standsAlone(null, [word], after)).toBe(false);
    expect(standsAlone(glass, [word], after)).toBe(true);
  });
});
