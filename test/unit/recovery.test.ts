import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { fateOf, judgeLedger, LedgerBuilder, type Ledger, type LedgerPart } from '../../activities/journal/recovery.ts';
import { recordKeys } from '../../activities/vault/macs.ts';

const { userKey } = recordKeys(randomBytes(32));
const about = {
  customer: 'contoso',
  move: 'm-1',
  site: 'west',
  from: 'east',
  keyId: 'k1',
  source: 'own-vault' as const,
  asOf: { snapshot: { customer: 'contoso', site: 'east', gen: 1, seq: 7 }, point: '2026-03-01T03:00:00.000Z' },
};
const USERS = 45_000;
const name = (i: number): string => `user-${i}`;

function made(quarantined: string[] = []): Ledger {
  const builder = new LedgerBuilder(userKey);
  for (let i = 0; i < USERS; i += 1) builder.add(name(i), i % 100 === 0 ? 'no-snapshot' : 'as-of');
  return builder.finish(about, quarantined);
}
const changed = (change: (parts: LedgerPart[]) => void): (() => unknown) => {
  const { digest, parts } = made();
  change(parts);
  return () => judgeLedger(digest, parts);
};
const part = (parts: LedgerPart[], i: number): LedgerPart => {
  const found = parts[i];
  if (!found) throw new Error(`no part ${i}`);
  return found;
};
const edited = ({ entries }: LedgerPart, edit: (bytes: Buffer) => Buffer): string =>
  edit(Buffer.from(entries, 'base64')).toString('base64');

describe('a recovery ledger', () => {
  it('misses no user, names none, and tells each what he got', () => {
    const { digest, parts } = made([name(3), name(100)]);
    expect(parts.map((p) => p.part)).toEqual([1, 2, 3]);
    expect(JSON.stringify(parts)).not.toContain('user-');
    const { head, entries } = judgeLedger(digest, parts.toReversed());
    expect(head.users).toBe(USERS);
    expect(head.fates).toEqual({ 'as-of': 44_549, 'no-snapshot': 449, quarantined: 2, held: 0, unproven: 0 });
    for (const i of [0, 1, 200, 44_999])
      expect(fateOf(entries, userKey(name(i)))).toBe(i % 100 === 0 ? 'no-snapshot' : 'as-of');
    for (const i of [3, 100]) expect(fateOf(entries, userKey(name(i)))).toBe('quarantined');
    expect(fateOf(entries, userKey('stranger'))).toBeNull();
    expect(entries.every((bytes) => bytes.length % 17 === 0)).toBe(true);
  });

  it('is the same whatever the order in which users were heard of', () => {
    const builder = new LedgerBuilder(userKey);
    for (let i = USERS - 1; i >= 0; i -= 1) builder.add(name(i), i % 100 === 0 ? 'no-snapshot' : 'as-of');
    expect(builder.finish(about, []).digest).toBe(made().digest);
  });

  it('of nobody is one that holds', () => {
    const { digest, parts } = new LedgerBuilder(userKey).finish(about, []);
    expect(judgeLedger(digest, parts).head.users).toBe(0);
  });

  it.each<[string, (parts: LedgerPart[]) => void, string]>([
    ['without its last part', (p) => void p.pop(), 'the ledger has 40000 users, and says 45000'],
    ['without a part between', (p) => void p.splice(1, 1), 'part 2 of the ledger is missing'],
    ['without any', (p) => void p.splice(0), 'which the journal names, is missing'],
    [
      'without one user',
      (p) => void (part(p, 1).entries = edited(part(p, 1), (b) => b.subarray(17))),
      'the ledger has 44999 users, and says 45000',
    ],
    [
      'without one user, and a head that says so',
      (p) => {
        part(p, 1).entries = edited(part(p, 1), (b) => b.subarray(17));
        for (const one of p) one.users -= 1;
      },
      'is not the one that the journal names',
    ],
    [
      'with another fate of one user',
      (p) => void (part(p, 0).entries = edited(part(p, 0), (b) => (b.writeUInt8(3, 16), b))),
      'is not the one that the journal names',
    ],
    [
      'of another snapshot',
      (p) => p.forEach((one) => void (one.point = '2026-03-01T09:00:00.000Z')),
      'is not the one that the journal names',
    ],
    ['with one part of another', (p) => void (part(p, 2).move = 'm-2'), 'part 3 is of another ledger'],
  ])('%s does not hold', (_, change, told) => {
    expect(changed(change)).toThrow(told);
  });
});
