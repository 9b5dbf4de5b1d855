import { afterAll, beforeAll, expect, it } from 'vitest';
import { judgeEvidence, type Evidence } from '../../activities/journal/evidence.ts';
import { listMoves, readSealed } from '../../activities/journal/read.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { fingerprint } from '../../ops/evidence.ts';
import { startFailover } from '../../ops/moves.ts';
import { failureText } from '../../workflows/model/failures.ts';
import { approve, ask, cover, declaration, declare, reach } from '../rig/failovers.ts';
import { CUSTOMER, openRegion, type Region } from '../rig/region.ts';

let region: Region;
beforeAll(async () => {
  region = await openRegion();
  await cover(region);
  region.lose('east');
  await region.work('west');
});
afterAll(() => region.close());

async function evidenceOf(move: string): Promise<Evidence> {
  const { publicKeys, vault: access } = region.settings.west;
  const vault = new S3Vault(access);
  try {
    const shelf = { vault, customer: CUSTOMER, site: 'west', publicKeys };
    const held = (await listMoves(shelf)).find((m) => m.move === move);
    const sealed = held ? await readSealed(shelf, held) : { segments: [], journal: null, report: null };
    const about = { customer: CUSTOMER, move, site: 'west', readFrom: 'west', exportedAt: '', publicKeys: {} };
    return { format: 1, ...about, ...sealed };
  } finally {
    vault.close();
  }
}

it('a slot whose run was terminated says which, where it stood, and what to do; never only a dead run to watch', async () => {
  const handle = await declare(region);
  const { move } = await reach(handle, (s) => s.phase === 'approving');
  await handle.terminate('by hand, in Temporal UI');
  const next = await startFailover(region.clients.west, 'west', declaration());
  const told = failureText(await next.result().catch((error: unknown) => error));
  expect(told).toContain(`${CUSTOMER}: move ${move} (workflow failover/${CUSTOMER}) holds the one slot since`);
  expect(told).toMatch(/in phase \w+$/);
  await ask(region, 'west', "update tandem.move set ended_at = now(), phase = 'aborted' where ended_at is null");
});

it('the evidence of a real failover holds, and its lines came to the vault while it ran', async () => {
  const handle = await declare(region);
  const { move } = await reach(handle, (s) => s.phase === 'approving');
  for (const operator of region.operators.slice(0, 2)) await approve(handle, operator);
  const { report } = await handle.result();
  expect(report.outcome).toBe('closed');
  const evidence = await evidenceOf(move);
  const verdicts = judgeEvidence(evidence, region.settings.west.publicKeys, fingerprint);
  expect(verdicts.filter((v) => !v.ok)).toEqual([]);
  expect(verdicts.find((v) => v.check === 'approvals')?.seen).toContain('operator-1, operator-2 (commander)');
  expect(evidence.segments.length).toBeGreaterThan(1);
  expect(evidence.segments.flatMap((s) => s.document.lines)).toEqual(evidence.journal?.document.lines);
});
