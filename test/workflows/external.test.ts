import { generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Database } from '../../activities/contacts/database.ts';
import type { Message } from '../../activities/notify/port.ts';
import { takeAnswer } from '../../activities/notify/answer.ts';
import { readUpdates } from '../../activities/notify/updates.ts';
import type { Party } from '../../activities/settings.ts';
import { wakeBy } from '../../ops/callbacks.ts';
import { followOpenUpdates, sendExternal, signExternal } from '../../ops/external-updates.ts';
import { resumeFailover } from '../../ops/moves.ts';
import type { ExternalUpdate } from '../../workflows/model/external.ts';
import { webhookEnd, type WebhookEnd } from '../notify/ends.ts';
import { passTime } from '../rig/clock.ts';
import { approve, ask, cover, declare, reach } from '../rig/failovers.ts';
import { CUSTOMER, openRegion, type Region } from '../rig/region.ts';

/** Three parties outside are asked by one failover, which is terminated in between; each is followed to another end. */

const DAY = 86_400_000;
let region: Region;
let hook: WebhookEnd;
let database: Database;

beforeAll(async () => {
  region = await openRegion({ users: 10 });
  hook = await webhookEnd();
  database = new Database('west', region.urls.west, { connections: 2, connectMs: 5000, statementMs: 20_000 });
  await cover(region);
  region.lose('east');
  const { west } = region.settings;
  const customer = west.customers.get(CUSTOMER);
  if (!customer) throw new Error('no customer');
  const party: Party = {
    option: 'third-party-federation',
    channel: 'hook',
    chaseMs: 7 * DAY,
    subject: null,
    change: 'Let your gateway connect to our other site.',
    contact: null,
  };
  const parties = new Map(['fabrikam', 'tailspin', 'woodgrove'].map((name) => [name, party]));
  const bought = { ...customer, options: ['third-party-federation'], parties };
  region.settings.west = {
    ...west,
    channels: new Map([['hook', hook.settings]]),
    callbacks: 'https://west.example',
    customers: new Map([[CUSTOMER, bought]]),
  };
  await region.work('west');
});
afterAll(async () => {
  await region.close();
  await Promise.all([hook.close(), database.close()]);
});

const id = (party: string): string => `external-update/${CUSTOMER}/${party}/2`;
const runOf = async (party: string): Promise<{ runId: string; status: string }> => {
  const { runId, status } = await region.clients.west.workflow.getHandle(id(party)).describe();
  return { runId, status: status.name };
};
const sentTo = (party: string): string[] =>
  hook.received
    .map(({ body }) => JSON.parse(body) as Message)
    .filter(({ key }) => key.startsWith(id(party)))
    .map(({ text }) => text);
const row = async (party: string): Promise<ExternalUpdate> => {
  const found = (await database.connection((c) => readUpdates(c, CUSTOMER))).find((u) => u.party === party);
  if (!found) throw new Error(`no request to ${party}`);
  return found;
};
const operator = (): Region['operators'][number] => {
  const [one] = region.operators;
  if (!one) throw new Error('no operators');
  return one;
};

describe('parties outside', () => {
  it('are asked at once and go on being followed when the failover is terminated; none is asked twice when it resumes', async () => {
    // The probe cannot note what it found: the failover is still under way while the parties are asked.
    await ask(
      region,
      'west',
      `create function stop_it() returns trigger language plpgsql as $$ begin raise 'not yet'; end $$;
       create trigger stop_it before insert on tandem.journal for each row when (new.key like 'effect/%/verify/%') execute function stop_it()`,
    );
    const handle = await declare(region);
    for (const one of region.operators.slice(0, 2)) await approve(handle, one);
    const asked = await reach(handle, (s) => s.steps.some((x) => x.id === 'partners' && x.state === 'done'));
    expect(asked.steps.find((s) => s.id === 'partners')?.summary).toMatch(/fabrikam, tailspin, woodgrove/);
    await expect.poll(() => hook.received.length).toBe(3);
    await handle.terminate('somebody pressed the button');
    const before = await runOf('fabrikam');
    expect(before.status).toBe('RUNNING');
    await ask(region, 'west', 'drop trigger stop_it on tandem.journal');
    const resumed = await resumeFailover(region.clients.west, 'west', CUSTOMER);
    const { report } = await resumed.result(); // It closes without waiting for anybody outside.
    expect(report.outcome).toBe('closed');
    expect(await runOf('fabrikam')).toEqual(before);
    expect(hook.received).toHaveLength(3);
  });

  it('are asked again every week for as long as nobody answers, and never by one who forged a word', async () => {
    const { clients } = region;
    const stranger = generateKeyPairSync('ed25519').privateKey;
    const forged = signExternal(await row('fabrikam'), { verb: 'done', operator: operator().id, key: stranger });
    await expect(sendExternal(clients.west, await row('fabrikam'), forged)).rejects.toThrow(/does not hold under/);
    const other = signExternal(await row('tailspin'), { verb: 'done', operator: operator().id, key: operator().key });
    await expect(sendExternal(clients.west, await row('fabrikam'), other)).rejects.toThrow(/does not hold under/);
    await passTime(clients.west, id('fabrikam'), 28 * DAY + 60_000);
    await expect.poll(async () => (await row('fabrikam')).sent).toBe(5);
    expect(sentTo('fabrikam')).toHaveLength(5);
    expect(await row('fabrikam')).toMatchObject({ state: 'requested' });
  });

  it('whose run is gone are followed by another, which asks nobody again, until an operator says that it is done', async () => {
    const { clients } = region;
    const first = await runOf('fabrikam');
    await clients.west.workflow.getHandle(id('fabrikam')).terminate('lost with its service');
    expect(await followOpenUpdates(clients.west, 'west', database, CUSTOMER)).toEqual([id('fabrikam')]);
    expect((await runOf('fabrikam')).runId).not.toBe(first.runId);
    const sign = async (verb: 'acknowledge' | 'done') =>
      signExternal(await row('fabrikam'), { verb, operator: operator().id, key: operator().key });
    const word = await sign('acknowledge');
    await expect
      .poll(() => sendExternal(clients.west, asked('fabrikam'), word).then((u) => u.state, String))
      .toBe('acknowledged');
    expect((await sendExternal(clients.west, await row('fabrikam'), await sign('done'))).state).toBe('done');
    await clients.west.workflow.getHandle(id('fabrikam')).result();
    expect(sentTo('fabrikam')).toHaveLength(5);
    expect(await followOpenUpdates(clients.west, 'west', database, CUSTOMER)).toEqual([]);
  });

  it('close their request themselves, by the word that only they were given', async () => {
    const token = /external-updates\/([\w-]{43})/.exec(sentTo('woodgrove')[0] ?? '')?.[1] ?? '';
    expect(await takeAnswer(database, CUSTOMER, 'A'.repeat(43), 'done')).toBeNull();
    const answered = await takeAnswer(database, CUSTOMER, token, 'done');
    expect(answered?.party).toBe('woodgrove');
    if (answered) await wakeBy(region.clients.west)(answered);
    const result: unknown = await region.clients.west.workflow.getHandle(id('woodgrove')).result();
    expect(result).toMatchObject({ state: 'done', sent: 1 });
  });

  it('hear no more of a move that another has followed', async () => {
    await ask(region, 'west', `update tandem.epoch set number = 3, move = 'newer'`);
    await passTime(region.clients.west, id('tailspin'), 7 * DAY + 60_000);
    const result: unknown = await region.clients.west.workflow.getHandle(id('tailspin')).result();
    expect(result).toMatchObject({ state: 'superseded', sent: 1 });
    expect(sentTo('tailspin')).toHaveLength(1);
  });
});

const asked = (party: string): ExternalUpdate => ({ customer: CUSTOMER, party, epoch: 2 }) as ExternalUpdate;
