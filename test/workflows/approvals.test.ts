import { generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { failoverOf } from '../../ops/cli/status-failover.ts';
import { failoverStatus, lastBegun, startFailover, type FailoverHandle } from '../../ops/moves.ts';
import { sendVerb, signVerb } from '../../ops/verbs.ts';
import { rawHex } from '../../ops/keys.ts';
import { prepareSite } from '../../ops/prepare.ts';
import { snapshotNow } from '../../ops/snapshots.ts';
import { taskQueue } from '../../workflows/model/names.ts';
import type { ClosedMove, FailoverInput } from '../../workflows/model/moves.ts';
import { approve, ask, cover, declaration, declare, reach, servable } from '../rig/failovers.ts';
import { CUSTOMER, openRegion, type Region } from '../rig/region.ts';

/** What must not start anything. One run waits for approval all the while, and is aborted at the end. */

let region: Region;
let handle: FailoverHandle;
const [ONE, TWO] = [0, 1];
/** Of somebody who wrote himself into the survivor's configuration. */
const pasted = generateKeyPairSync('ed25519');

beforeAll(async () => {
  region = await openRegion();
  await cover(region);
  region.lose('east');
  const { settings } = region;
  const intruder = { id: 'operator-9', key: rawHex(pasted.publicKey), roles: ['commander' as const] };
  settings.west = { ...settings.west, operators: [...settings.west.operators, intruder] };
  await region.work('west');
  handle = await declare(region);
});
afterAll(() => region.close());

const operator = (i: number): Region['operators'][number] => {
  const found = region.operators[i];
  if (!found) throw new Error(`no operator ${i}`);
  return found;
};
const refused = async (work: Promise<unknown>, why: RegExp): Promise<void> => {
  await expect(work).rejects.toThrow(why);
  const status = await failoverStatus(handle);
  expect(status.phase).toBe('approving');
  expect(status.steps.every((s) => s.state === 'waiting')).toBe(true);
};

describe('nothing starts', () => {
  it('by an unknown key, or a key of somebody else', async () => {
    const stranger = generateKeyPairSync('ed25519').privateKey;
    await refused(approve(handle, { id: 'operator-9', key: stranger }), /is not an operator of this plan/);
    await refused(approve(handle, { id: 'operator-1', key: stranger }), /does not hold under the key of operator-1/);
  });

  it('by one who stands in the configuration, and whom nobody has admitted', async () => {
    await refused(approve(handle, { id: 'operator-9', key: pasted.privateKey }), /is not an operator of this plan/);
    const { plan } = await failoverStatus(handle);
    expect(plan?.notAdmitted).toMatchObject([{ operator: 'operator-9' }]);
    expect(plan?.decisions.approvers.map((a) => a.id)).toEqual(['operator-1', 'operator-2', 'operator-3']);
  });

  it('by a signature over another digest', async () => {
    const status = await failoverStatus(handle);
    const other = signVerb(
      { ...status, plan: status.plan && { ...status.plan, digest: 'ab'.repeat(32) } },
      { verb: 'approve', operator: 'operator-1', key: operator(ONE).key },
    );
    await refused(sendVerb(handle, other), /read it again/);
  });

  it('by one approval, nor by the same operator twice, nor by the same signature again', async () => {
    const status = await failoverStatus(handle);
    const first = signVerb(status, { verb: 'approve', operator: 'operator-1', key: operator(ONE).key });
    await sendVerb(handle, first);
    await refused(approve(handle, operator(ONE)), /has already signed/);
    // The update's id is the hash of what was signed: sent again, it is answered again and applied once.
    await sendVerb(handle, first);
    const after = await failoverStatus(handle);
    expect(after.approvals.map((a) => a.operator)).toEqual(['operator-1']);
    expect(after.waitsFor).toMatch(/^1 of 2 signatures, one of them a commander/);
    expect(await servable(region, 'west', 'east')).toBe(0);
  });

  it('by two who are no commander', async () => {
    await approve(handle, operator(2));
    expect((await failoverStatus(handle)).approvals).toHaveLength(2);
    expect((await failoverStatus(handle)).phase).toBe('approving');
  });

  it('by a second run, under the same id or another', async () => {
    await expect(startFailover(region.clients.west, 'west', declaration())).rejects.toThrow(/one is already running/);
    const other = await region.clients.west.workflow.start<(input: FailoverInput) => Promise<ClosedMove>>('failover', {
      workflowId: 'typed-by-hand',
      taskQueue: taskQueue('west'),
      args: [declaration()],
    });
    await expect(other.result()).rejects.toMatchObject({ cause: { cause: { type: 'move-running' } } });
    expect(await ask(region, 'west', 'select count(*)::int as n from tandem.move where ended_at is null')).toEqual([
      { n: 1 },
    ]);
  });

  it('and an abort leaves everything as it was, and frees the slot', async () => {
    const status = await failoverStatus(handle);
    await sendVerb(
      handle,
      signVerb(status, { verb: 'abort', operator: 'operator-1', key: operator(ONE).key, because: 'the light is back' }),
    );
    const { report } = await handle.result();
    expect(report.outcome).toBe('aborted');
    expect(await ask(region, 'west', 'select number::int, move from tandem.epoch')).toEqual([
      { number: 1, move: 'provisioned' },
    ]);
    expect(await servable(region, 'west', 'west')).toBe(20);
    expect(await servable(region, 'west', 'east')).toBe(0);
  });
});

describe('an input is refused', () => {
  const start = async (input: FailoverInput): Promise<unknown> =>
    (await startFailover(region.clients.west, 'west', input)).result();
  const cases: [string, Partial<FailoverInput>, string, RegExp][] = [
    ['of an unknown customer', { customer: 'nobody' }, 'unknown-customer', /nobody/],
    ['that names this site as the lost one', { from: 'west' }, 'wrong-direction', /west/],
    ['with a time that is none', { disruptedAt: 'last night' }, 'input-invalid', /disruptedAt/],
    [
      'that somebody declares who is no operator',
      { requestedBy: 'nobody' },
      'input-invalid',
      /those with the role declare: operator-1, operator-2/,
    ],
    ['without a reason', { reason: '' }, 'input-invalid', /reason/],
  ];
  it.each(cases)('%s, and holds no slot', async (_, change, type, text) => {
    const error = await start(declaration(change)).then(
      () => null,
      (e: unknown) => e as { cause: { cause: { type: string; message: string } } },
    );
    expect(error?.cause.cause).toMatchObject({ type });
    expect(error?.cause.cause.message).toMatch(text);
    expect(await ask(region, 'west', 'select count(*)::int as n from tandem.move where ended_at is null')).toEqual([
      { n: 0 },
    ]);
  });
});

describe('two approvals', () => {
  it('move everybody, under a new epoch, and nobody twice', async () => {
    const again = await declare(region);
    await approve(again, operator(ONE));
    await approve(again, operator(TWO));
    const { report } = await again.result();
    expect(report).toMatchObject({ outcome: 'closed', epoch: 2, mismatches: 0, customer: CUSTOMER });
    expect(report.steps.map((s) => s.state)).toEqual(Array(6).fill('done'));
    expect(await servable(region, 'west', 'east')).toBe(20);
    expect(await servable(region, 'west', 'west')).toBe(20);
    await expect(reach(again, (s) => s.phase === 'closed')).resolves.toMatchObject({ phase: 'closed', next: null });
  });

  it('are still what is shown of the customer after a start that was refused', async () => {
    const { west } = region.clients;
    const unwanted = await startFailover(west, 'west', declaration({ reason: '' }));
    await expect(unwanted.result()).rejects.toThrow();
    await expect.poll(async () => (await failoverOf(west, CUSTOMER)).failover).toBe('failover: closed');
    const begun = await lastBegun(west, 'failover', CUSTOMER);
    expect(begun && (await failoverStatus(begun))).toMatchObject({ phase: 'closed', next: null });
  });
});

describe('the lost site, when it returns', () => {
  it('takes over the newer epoch before anything else, and serves and protects nobody', async () => {
    // By its own database it would still serve its half: nobody could tell it.
    expect(await servable(region, 'east', 'east')).toBe(20);
    await prepareSite(region.settings.east, region.clients.east, () => undefined);
    expect(await servable(region, 'east', 'east')).toBe(0);
    expect(await ask(region, 'east', 'select number::int, site from tandem.epoch')).toEqual([
      { number: 2, site: 'west' },
    ]);
    await region.work('east');
    const customer = region.settings.east.customers.get(CUSTOMER);
    if (!customer) throw new Error('no customer');
    const taking = snapshotNow(region.clients.east, 'east', customer);
    await expect(taking).rejects.toMatchObject({ cause: { cause: { type: 'serves-nobody' } } });
  });
});
