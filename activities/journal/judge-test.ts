import type { KeyObject } from 'node:crypto';
import type { TestReceipt } from '../../workflows/model/continuity.ts';
import { judge } from '../../workflows/model/test-verdict.ts';
import { unseal, type Signed } from '../vault/signed.ts';
import type { Verdict } from './evidence.ts';

/** The evidence of one continuity test as a file. */
export interface TestEvidence {
  format: 1;
  kind: 'continuity-test';
  customer: string;
  site: string;
  run: string;
  /** Whose vault it was read from. */
  readFrom: string;
  exportedAt: string;
  /** Fingerprints of the sites' public keys, as the exporter knew them: for people, who compare; none is trusted. */
  publicKeys: Record<string, string>;
  receipt: Signed<TestReceipt>;
}

/**
 * Judges the evidence of a test by public keys that are known from elsewhere: whether its site has signed it, for this very test,
 * and whether what it calls passed has passed by its own figures. Throws never.
 */
export function judgeTest(
  { customer, site, run, receipt }: TestEvidence,
  publicKeys: ReadonlyMap<string, KeyObject>,
  fingerprint: (key: KeyObject) => string,
): Verdict[] {
  const looks: [string, () => string][] = [
    ['keys', () => `${site} signs with ${fingerprint(keyOf(publicKeys, site))}`],
    [
      'signature',
      () => {
        const own = new Map([[site, keyOf(publicKeys, site)]]);
        unseal('test-receipt', own, Buffer.from(JSON.stringify(receipt)), 'the receipt');
        const { document: d } = receipt;
        if (d.customer !== customer || d.site !== site || d.run !== run)
          throw new Error(`it is of test ${d.run} of ${d.customer} at ${d.site}`);
        return `the receipt: the signature of ${site} holds`;
      },
    ],
    ['outcome', () => outcomeSeen(receipt.document)],
  ];
  return looks.map(([check, look]) => {
    try {
      return { check, ok: true, seen: look() };
    } catch (error) {
      return { check, ok: false, seen: error instanceof Error ? error.message : String(error) };
    }
  });
}

function keyOf(known: ReadonlyMap<string, KeyObject>, site: string): KeyObject {
  const key = known.get(site);
  if (!key) throw new Error(`no public key of ${site} is known; known: ${[...known.keys()].join(', ') || 'none'}`);
  return key;
}

function outcomeSeen({ outcome, kind, counts, mismatches, residue, times, accounts, paper }: TestReceipt): string {
  if (outcome !== 'passed') return `${outcome}: it does not count`;
  const found = { counts, mismatches, restoreMs: times?.restoreMs ?? null, compareMs: null, ...(paper && { paper }) };
  const { because } = judge({
    found,
    ended: null,
    left: residue?.left ?? [],
    times,
    accounts: kind === 'isolated' ? accounts : null,
  });
  if (because !== '') throw new Error(`it says passed, and by its own figures ${because}`);
  if (kind === 'isolated' && counts.users === 0) throw new Error('it says passed, and no user was compared');
  return kind === 'tabletop' ? 'passed, on paper: it never counts' : `passed: ${counts.users} users, none differs`;
}
