import { sign } from 'node:crypto';
import { expect } from 'vitest';
import { S3Vault } from '../../activities/vault/s3.ts';
import { allReceipts } from '../../activities/vault/test-receipts.ts';
import { beginTest, signTest, tellTest, type TestHandle } from '../../ops/tests.ts';
import type { TestStatus } from '../../workflows/model/continuity.ts';
import { testStanding } from '../../workflows/model/test-due.ts';
import type { Site } from './databases.ts';
import { CUSTOMER, type Region } from './region.ts';

/** Live tests of a cohort whose home is west, held at east. */

export const PILOT = 'west/pilot' as Site;

/** Begins one, and waits until it asks for the move that brings them. */
export async function beginLive({ clients }: Region): Promise<TestHandle> {
  const test = await beginTest(clients.east, 'east', CUSTOMER, { kind: 'live', cohort: PILOT });
  await asks(test, /^tandem relocate start --customer contoso --half west\/pilot --to east --reason /);
  return test;
}

/** Waits until that is the command which the test names. */
export async function asks(test: TestHandle, next: string | RegExp): Promise<void> {
  const named = async () => (await test.query<TestStatus>('status')).next;
  const wanted: unknown = typeof next === 'string' ? next : expect.stringMatching(next);
  await expect.poll(named, { timeout: 60_000 }).toEqual(wanted);
}

export async function abortTest({ operators }: Region, test: TestHandle): Promise<void> {
  const [operator] = operators;
  if (!operator) throw new Error('no operator');
  const signed = (text: string) => Promise.resolve(sign(null, Buffer.from(text), operator.key).toString('hex'));
  const status = await test.query<TestStatus>('status');
  const draft = { verb: 'abort' as const, operator: operator.id, because: 'the probes of another service are red' };
  await tellTest(test, await signTest(status, draft, signed));
}

/** Waits until it has looked whether its users are home to stay, has found that they are not, and looks on. */
export async function looksOn(test: TestHandle): Promise<void> {
  const asked = async (): Promise<string> => {
    const { events } = await test.fetchHistory();
    const of = (events ?? []).flatMap(({ activityTaskScheduledEventAttributes: a }) =>
      a?.activityType?.name === 'await-cohort' ? [String(a.input?.payloads?.[0]?.data)] : [],
    );
    return of.at(-1) ?? '';
  };
  await expect.poll(asked, { timeout: 60_000 }).toMatch(/"at":"home".*"told"/);
}

/** Of the yearly test, by the receipts in the vault of the site that holds them. */
export async function dueDate({ settings: { east } }: Region): Promise<string | null> {
  const vault = new S3Vault(east.vault);
  try {
    const receipts = await allReceipts({ own: vault, peer: null }, east, CUSTOMER, ['east', 'west']);
    expect(receipts.length).toBeGreaterThan(0);
    return testStanding(receipts, { counts: 'live' }, { founded: null, now: Date.now() }).due;
  } finally {
    vault.close();
  }
}
