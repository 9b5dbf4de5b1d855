import { readFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { appendJournal, chainFault, readJournal, type JournalLine } from '../../activities/journal/chain.ts';
import { closeMove } from '../../activities/journal/close.ts';
import type { JournalExport } from '../../activities/journal/objects.ts';
import { claimMove, writeJournal } from '../../activities/journal/moves.ts';
import { unseal } from '../../activities/vault/signed.ts';
import { failureKind, failureText } from '../../workflows/model/failures.ts';
import type { FailoverInput, FailoverReport, JournalEntry } from '../../workflows/model/moves.ts';
import { CUSTOMER, endMove, input, kindOf, makeWorld, startMove, type World } from './world.ts';

let world: World;
let live: string[] = [];
beforeAll(async () => {
  world = await makeWorld();
});
afterAll(() => world.close());
afterEach(async () => {
  for (const move of live) await endMove(world, move);
  live = [];
});

async function begin(): Promise<string> {
  const move = await startMove(world);
  live.push(move);
  return move;
}

const entry = (move: string, key: string, body: Record<string, unknown> = { text: key }): JournalEntry => ({
  customer: CUSTOMER,
  move,
  key,
  kind: 'note',
  at: '2026-03-01T04:05:06.789Z',
  body,
});
const lines = (move: string): Promise<JournalLine[]> => world.westDb.connection((c) => readJournal(c, move));
const claim = (move: string, change: Partial<FailoverInput> = {}) =>
  claimMove(world.west, {
    input: input(change),
    run: move,
    workflowId: 'failover/contoso',
    at: new Date().toISOString(),
  });

describe('the slot', () => {
  it('never goes to a second move, which is told who holds it', async () => {
    const move = await begin();
    await writeJournal(world.west, [{ ...entry(move, 'phase/0', { phase: 'planning' }), kind: 'phase' }]);
    const told = await claim('another').catch((error: unknown) => error);
    expect(failureKind(told)).toBe('move-running');
    expect(failureText(told)).toContain(`move ${move} (workflow failover/contoso) holds the one slot since`);
    expect(failureText(told)).toContain('in phase planning');
    expect(JSON.stringify(told)).toContain('tandem failover resume --customer contoso');
  });

  it('goes to exactly one of ten that come at once', async () => {
    const moves = Array.from({ length: 10 }, (_, i) => `race-${i}`);
    live.push(...moves);
    const claims = await Promise.all(moves.map((move) => kindOf(claim(move))));
    expect(claims.toSorted()).toEqual([...Array.from({ length: 9 }, () => 'move-running'), 'no failure']);
  });

  it('is never taken by an input that cannot be planned', async () => {
    expect(await kindOf(claim('bad', { reason: 'a\u0000b' }))).toBe('input-invalid');
    expect(
      await kindOf(
        claimMove(world.west, { input: null as never, run: 'bad', workflowId: 'x', at: new Date().toISOString() }),
      ),
    ).toBe('input-invalid');
    expect(await kindOf(claim('bad', { customer: 'fabrikam' }))).toBe('unknown-customer');
    expect(await kindOf(claim('../bad'))).toBe('input-invalid');
    expect(await world.westDb.query('select from tandem.move where ended_at is null')).toEqual([]);
  });

  it('is never taken in the database of another site', async () => {
    const wrong = world.westWith({ site: { site: 'east' }, customer: { peer: 'west' } });
    const at = new Date().toISOString();
    expect(await kindOf(claimMove(wrong, { input: input({ from: 'west' }), run: 'm', workflowId: 'x', at }))).toBe(
      'database-wrong',
    );
  });

  it('stays with its move when the claim is repeated, and is not given again once that has ended', async () => {
    const move = await begin();
    expect(await claim(move)).toEqual({ resumed: null, paging: false });
    await endMove(world, move);
    expect(await kindOf(claim(move))).toBe('move-ended');
  });
});

describe('the journal', () => {
  it('never holds a line twice, nor changes one', async () => {
    const move = await begin();
    const { head } = await writeJournal(world.west, [entry(move, 'a'), entry(move, 'b')]);
    expect(await writeJournal(world.west, [entry(move, 'a'), entry(move, 'b')])).toEqual({ head, mirrored: true });
    expect(await kindOf(writeJournal(world.west, [entry(move, 'c'), entry(move, 'a', { text: 'changed' })]))).toBe(
      'input-invalid',
    );
    expect((await lines(move)).map((l) => l.key)).toEqual(['a', 'b']); // All or none: c is not there.
  });

  it('is one unbroken chain when twenty write at once', async () => {
    const move = await begin();
    await Promise.all(Array.from({ length: 20 }, (_, i) => writeJournal(world.west, [entry(move, `n/${i}`)])));
    const written = await lines(move);
    expect(written).toHaveLength(20);
    expect(chainFault({ customer: CUSTOMER, move }, written)).toBeNull();
  });

  it.each([
    ['a changed body', `update tandem.journal set body = '{"text":"x"}' where move = $1 and seq = 2`, 'line 2 (b)'],
    ['a changed time', `update tandem.journal set at = at + interval '1s' where move = $1 and seq = 1`, 'line 1 (a)'],
    ['a removed line', `delete from tandem.journal where move = $1 and seq = 2`, 'line 2 is missing'],
  ])('shows %s, and is then not sealed', async (_, sql, told) => {
    const move = await begin();
    await writeJournal(world.west, [entry(move, 'a'), entry(move, 'b'), entry(move, 'c')]);
    await world.westDb.query(sql, [move]);
    expect(chainFault({ customer: CUSTOMER, move }, await lines(move))).toContain(told);
    expect(await kindOf(closeMove(world.west, report(move)))).toBe('journal-broken');
  });

  it('keeps no line of an effect that was rolled back', async () => {
    const move = await begin();
    await kindOf(
      world.westDb.transaction(async (client) => {
        await appendJournal(client, entry(move, 'effect'));
        throw new Error('the effect failed');
      }),
    );
    expect(await lines(move)).toEqual([]);
  });

  it('takes no line of a move that never claimed the slot', async () => {
    expect(await kindOf(writeJournal(world.west, [entry('nobody', 'a')]))).toBe('input-invalid');
    expect(await writeJournal(world.west, [])).toEqual({ head: '' });
  });
});

const report = (move: string): Omit<FailoverReport, 'journalHead'> => ({
  format: 1,
  customer: CUSTOMER,
  move,
  from: 'east',
  to: 'west',
  epoch: 2,
  outcome: 'closed',
  reason: 'fire',
  requestedBy: 'al',
  declaredAt: '2026-03-01T04:00:00.000Z',
  disruptedAt: '2026-03-01T04:00:00.000Z',
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
  notTested: [],
  notes: [],
});

describe('close-move', () => {
  it('seals journal and report in the vault and on disk, and frees the slot', async () => {
    const move = await begin();
    await writeJournal(world.west, [entry(move, 'a')]);
    const closed = await closeMove(world.west, report(move));
    const read = async <T>(purpose: 'journal' | 'report', name: string): Promise<T> => {
      const [bytes] = await world.west.vault.versions(`${CUSTOMER}/west/journal/${move}/${name}.json`);
      return unseal<T>(purpose, world.settings.publicKeys, bytes ?? Buffer.alloc(0), name).document;
    };
    const journal = await read<JournalExport>('journal', 'journal');
    expect(chainFault({ customer: CUSTOMER, move }, journal.lines)).toBeNull();
    expect(journal.head).toBe(closed.report.journalHead);
    expect({ ...(journal.lines.at(-1)?.body['report'] as object), journalHead: journal.head }).toEqual(closed.report);
    expect(await read('report', 'report')).toEqual(closed.report);
    expect(JSON.parse(await readFile(closed.path, 'utf8'))).toEqual(closed.report);
    const next = await begin();
    expect(next).not.toBe(move);
  });

  it('answers the same when it is repeated, whatever the second one says, and takes no line after it', async () => {
    const move = await begin();
    const first = await closeMove(world.west, report(move));
    expect(await closeMove(world.west, { ...report(move), outcome: 'aborted' })).toEqual(first);
    expect(await kindOf(writeJournal(world.west, [entry(move, 'late')]))).toBe('move-ended');
  });

  it('frees the slot and keeps the evidence in the database while the vault is away; the repeat seals it', async () => {
    const move = await begin();
    const away = world.westWith({ site: { vault: { ...world.vaults.west, endpoint: 'http://127.0.0.1:1' } } });
    const ended = await closeMove(away, report(move));
    expect(ended.notSealed).toContain('vault west');
    expect(JSON.parse(await readFile(ended.path, 'utf8'))).toMatchObject({
      evidence: expect.stringContaining('not sealed yet') as string,
    });
    expect((await lines(move)).at(-1)?.key).toBe('close');
    await begin();
    const sealed = await closeMove(world.west, report(move));
    expect(sealed).toEqual({ report: ended.report, path: ended.path, vaultKey: ended.vaultKey });
    expect(JSON.parse(await readFile(ended.path, 'utf8'))).toEqual(ended.report);
  });

  it('says so when the report cannot be written for people, and can be repeated', async () => {
    const move = await begin();
    const unwritable = world.westWith({ site: { reportsFolder: '/dev/null/none' } });
    expect(await kindOf(closeMove(unwritable, report(move)))).toBe('report-unwritable');
    expect((await closeMove(world.west, report(move))).path).toContain(`${move}.json`);
  });
});
