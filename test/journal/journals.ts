import { randomUUID } from 'node:crypto';
import { Cleaner } from '../../activities/vault/cleaner.ts';
import { claimMove } from '../../activities/journal/moves.ts';
import type { JournalSegment } from '../../activities/journal/objects.ts';
import type { Vault } from '../../activities/vault/port.ts';
import { unseal } from '../../activities/vault/signed.ts';
import type { FailoverReport, JournalEntry } from '../../workflows/model/moves.ts';
import { CUSTOMER, input, type World } from '../failover-acts/world.ts';

/** A move that holds the slot; the one before it is over. */
export async function begin(world: World): Promise<string> {
  const move = randomUUID();
  await world.westDb.query("update tandem.move set ended_at = now(), phase = 'aborted' where ended_at is null");
  const at = new Date().toISOString();
  await claimMove(world.west, { input: input(), run: move, workflowId: `failover/${CUSTOMER}`, at });
  return move;
}

export const note = (move: string, key: string, body: Record<string, unknown> = { text: key }): JournalEntry => ({
  customer: CUSTOMER,
  move,
  key,
  kind: 'note',
  at: '2026-03-01T04:05:06.789Z',
  body,
});

export const folder = (move: string, site = 'west'): string => `${CUSTOMER}/${site}/journal/${move}/`;
export const segmentKey = (move: string, first: number, site?: string): string =>
  `${folder(move, site)}lines/${String(first).padStart(10, '0')}.json`;

export async function keysOf(vault: Vault, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of vault.list(prefix)) keys.push(key.slice(prefix.length));
  return keys;
}

/** The segments of a move in west's vault, each by the keys of its lines. */
export async function segmentsOf(world: World, move: string): Promise<JournalSegment[]> {
  const { vault } = world.west;
  const segments: JournalSegment[] = [];
  for await (const { key } of vault.list(`${folder(move)}lines/`)) {
    const [bytes = Buffer.alloc(0)] = await vault.versions(key);
    segments.push(unseal<JournalSegment>('journal', world.settings.publicKeys, bytes, key).document);
  }
  return segments;
}

export const namesOf = (segments: JournalSegment[]): string[][] => segments.map((s) => s.lines.map((l) => l.key));

export const reportOf = (move: string, change: Partial<FailoverReport> = {}): Omit<FailoverReport, 'journalHead'> => ({
  format: 1,
  customer: CUSTOMER,
  move,
  from: 'east',
  to: 'west',
  epoch: 2,
  outcome: 'closed',
  reason: 'fire in the hall',
  requestedBy: 'al',
  declaredAt: '2026-03-01T04:00:00.000Z',
  disruptedAt: '2026-03-01T03:58:00.000Z',
  approvedAt: null,
  servedAt: null,
  endedAt: new Date().toISOString(),
  planDigest: null,
  approvals: [],
  recoveryPoint: null,
  recoveryPointAgeMs: null,
  rtoMs: null,
  rtoPromiseMs: null,
  steps: [],
  restored: null,
  mismatches: null,
  alarms: [],
  notes: [],
  notTested: [],
  ...change,
});

/** For how many days the versions below a prefix of west's vault are locked. */
export async function lockDays(world: World, prefix: string): Promise<number[]> {
  const cleaner = new Cleaner(world.vaults.west);
  const { signal } = new AbortController();
  const days: number[] = [];
  try {
    for await (const page of cleaner.versions(prefix, signal)) {
      for (const version of page) {
        const lock = await cleaner.lock(version, signal);
        days.push(((lock?.until?.getTime() ?? 0) - Date.now()) / (24 * 3_600_000));
      }
    }
  } finally {
    cleaner.close();
  }
  return days;
}
