import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { notify } from '../../activities/notify/act.ts';
import { createExternalActivities } from '../../activities/notify/follow.ts';
import { requestExternalUpdate } from '../../activities/notify/request.ts';
import { readUpdates } from '../../activities/notify/updates.ts';
import type { PlannedStep } from '../../activities/services/planned.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import type { Party } from '../../activities/settings.ts';
import type { ExternalUpdateActivities } from '../../activities/types.ts';
import { Callbacks } from '../../ops/callbacks.ts';
import { signExternal } from '../../ops/external-updates.ts';
import { rawHex } from '../../ops/keys.ts';
import { serveMetrics, SiteMetrics } from '../../ops/metrics.ts';
import type { ExternalState, ExternalUpdate } from '../../workflows/model/external.ts';
import { CUSTOMER, endMove, kindOf, makeWorld, startMove, step, type World } from '../failover-acts/world.ts';
import { outboxEnd, type End } from './ends.ts';

/** Requests to parties outside, on a real database: what an old epoch, a forged word and a channel that is away must not do. */

let world: World;
let west: OwnSite;
let box: End & { folder: string };
let acts: ExternalUpdateActivities;
let move: string;
let key: KeyObject;
const asked = { customer: CUSTOMER, party: 'fabrikam', epoch: 2 };
const party = (change: Partial<Party> = {}): Party => ({
  option: 'third-party-federation',
  channel: 'box',
  chaseMs: 86_400_000,
  subject: null,
  change: 'Let your gateway connect to our other site.',
  contact: null,
  ...change,
});

beforeAll(async () => {
  world = await makeWorld();
});
afterAll(() => world.close());
beforeEach(async () => {
  box = await outboxEnd();
  const pair = generateKeyPairSync('ed25519');
  key = pair.privateKey;
  west = world.westWith({
    customer: {
      options: ['third-party-federation'],
      parties: new Map([
        ['fabrikam', party()],
        ['lost', party({ channel: 'nowhere' })],
      ]),
    },
    site: {
      channels: new Map([['box', box.settings]]),
      callbacks: 'https://west.example/',
      operators: [
        { id: 'al', key: rawHex(pair.publicKey), roles: ['operate'] },
        { id: 'di', key: rawHex(pair.publicKey), roles: ['approve'] },
      ],
    },
  });
  acts = createExternalActivities(west, () => new AbortController().signal);
  move = await startMove(world);
  await setEpoch(2, move);
});
afterEach(async () => {
  await endMove(world, move);
  await world.westDb.query('delete from tandem.external_update');
  await box.close();
});

const setEpoch = (number: number, by: string): Promise<unknown> =>
  world.westDb.query(`update tandem.epoch set number = $1, site = 'west', move = $2`, [number, by]);
const planned = (parties: string[], epoch = 2): PlannedStep => {
  const input = step('request-external-update', move, epoch);
  input.plan.decisions.steps = [
    {
      id: 'request-external-update',
      act: 'request-external-update',
      needs: [],
      timeoutMs: 1,
      attempts: 1,
      onFailure: 'hold',
      parties,
    },
  ];
  return input;
};
const rows = (): Promise<ExternalUpdate[]> => world.westDb.connection((client) => readUpdates(client, CUSTOMER));
const stateOf = async (name = 'fabrikam', epoch = 2): Promise<ExternalState | undefined> =>
  (await rows()).find((u) => u.party === name && u.epoch === epoch)?.state;
const mails = async (): Promise<string[]> => (await box.accepted().catch(() => [])).map(({ text }) => text);

describe('a request to a party outside', () => {
  it('is never made under an old epoch, nor of a party that is not configured', async () => {
    await setEpoch(3, 'another');
    expect(await kindOf(requestExternalUpdate(west, planned(['fabrikam'])))).toBe('epoch-superseded');
    await setEpoch(2, move);
    expect(await kindOf(requestExternalUpdate(west, planned(['nobody'])))).toBe('input-invalid');
    expect(await rows()).toEqual([]);
  });

  it('sends nothing any more when the customer has moved again, and says why', async () => {
    await requestExternalUpdate(west, planned(['fabrikam']));
    await setEpoch(3, 'another');
    const { update } = await acts['send-external-update']({ ...asked, n: 1 });
    expect(update).toMatchObject({ state: 'superseded', sent: 0 });
    expect(update.because).toMatch(/under epoch 3/);
    expect(await mails()).toEqual([]);
    const late = signExternal(update, { verb: 'done', operator: 'al', key });
    await acts['settle-external-update']({ ...asked, word: late, now: Date.now() });
    expect(await stateOf()).toBe('superseded');
  });

  it('ends those of earlier epochs, and is made and sent once however often it is tried', async () => {
    await world.westDb.query(
      `insert into tandem.external_update (customer, epoch, party, move, option, from_site, to_site, state, token)
       values ($1, 1, 'fabrikam', 'old', 'public-im', 'west', 'east', 'acknowledged', 'x')`,
      [CUSTOMER],
    );
    const first = await requestExternalUpdate(west, planned(['fabrikam', 'lost']));
    expect(await requestExternalUpdate(west, planned(['fabrikam', 'lost']))).toEqual(first);
    expect(await stateOf('fabrikam', 1)).toBe('superseded');
    const { overtaken } = await acts['read-external-update'](asked);
    expect(overtaken).toBe('external-update/contoso/fabrikam/1');
    for (const n of [1, 1, 2]) await acts['send-external-update']({ ...asked, n });
    expect(await mails()).toHaveLength(2);
    expect((await rows()).find((u) => u.epoch === 2 && u.party === 'fabrikam')).toMatchObject({ sent: 2, because: '' });
  });

  it('keeps the reason for which its channel did not take it', async () => {
    await requestExternalUpdate(west, planned(['lost']));
    const { update } = await acts['send-external-update']({ ...asked, party: 'lost', n: 1 });
    expect(update).toMatchObject({ state: 'requested', sent: 0 });
    expect(update.because).toMatch(/site west has box/);
  });

  it('is not closed by a word of another key, role or request, nor by one that was used', async () => {
    await requestExternalUpdate(west, planned(['fabrikam']));
    const { update } = await acts['read-external-update'](asked);
    const say = (word: Parameters<(typeof acts)['settle-external-update']>[0]['word']): Promise<string> =>
      kindOf(acts['settle-external-update']({ ...asked, word, now: Date.now() }));
    const stranger = generateKeyPairSync('ed25519').privateKey;
    expect(await say(signExternal(update, { verb: 'done', operator: 'al', key: stranger }))).toBe('verb-refused');
    expect(await say(signExternal(update, { verb: 'done', operator: 'di', key }))).toBe('verb-refused');
    expect(await say(signExternal({ ...update, epoch: 1 }, { verb: 'done', operator: 'al', key }))).toBe(
      'verb-refused',
    );
    expect(await say(signExternal(update, { verb: 'cancel', operator: 'al', key }))).toBe('verb-refused');
    const old = signExternal(update, { verb: 'done', operator: 'al', key, now: Date.now() - 7_200_000 });
    expect(await say(old)).toBe('verb-refused');
    expect(await stateOf()).toBe('requested');
    const word = signExternal(update, { verb: 'acknowledge', operator: 'al', key });
    expect([await say(word), await say(word)]).toEqual(['no failure', 'no failure']);
    expect(await stateOf()).toBe('acknowledged');
  });
});

describe('a party that answers', () => {
  let base: string;
  let woken: ExternalState[];
  let close: () => Promise<void>;
  beforeEach(async () => {
    woken = [];
    const callbacks = new Callbacks(west.settings, async ({ state }) => void woken.push(state));
    const server = await serveMetrics(
      '127.0.0.1:0',
      new SiteMetrics(),
      () => null,
      (r) => callbacks.answer(r),
    );
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    close = async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await callbacks.close();
    };
    await requestExternalUpdate(west, planned(['fabrikam']));
    await acts['send-external-update']({ ...asked, n: 1 });
  });
  afterEach(() => close());

  const post = async (path: string, body: string, method = 'POST'): Promise<number> =>
    (await fetch(`${base}${path}`, { method, ...(method === 'POST' && { body }) })).status;
  const word = async (): Promise<string> =>
    /west\.example(\/external-updates\/\S+)/.exec((await mails())[0] ?? '')?.[1] ?? '';
  const done = '{"verb":"done"}';

  it('with a word of its own making opens nothing, and learns nothing', async () => {
    const path = await word();
    expect(path).toMatch(/^\/external-updates\/[\w-]{43}$/);
    const forged = `${path.slice(0, -2)}${path.endsWith('AA') ? 'BB' : 'AA'}`;
    expect(await post(forged, done)).toBe(404);
    expect(await post('/external-updates/', done)).toBe(404);
    expect(await post(`${path}/x`, done)).toBe(404);
    expect(await post(path, done, 'GET')).toBe(404);
    expect(await stateOf()).toBe('requested');
  });

  it('can say that it has read it or is done, and nothing else', async () => {
    const path = await word();
    expect(await post(path, '{"verb":"cancel"}')).toBe(400);
    expect(await post(path, 'done')).toBe(400);
    expect(await post(path, `${' '.repeat(2000)}${done}`)).toBe(400);
    expect(await stateOf()).toBe('requested');
    expect(await post(path, '{"verb":"acknowledge"}')).toBe(200);
    expect(await stateOf()).toBe('acknowledged');
    expect([await post(path, done), await post(path, done)]).toEqual([200, 200]);
    expect(await post(path, '{"verb":"acknowledge"}')).toBe(404);
    expect(await stateOf()).toBe('done');
    expect(woken).toEqual(['acknowledged', 'done', 'done']);
  });

  it('about a move that another has followed is too late', async () => {
    const path = await word();
    await setEpoch(3, 'another');
    expect(await post(path, done)).toBe(404);
    expect(await stateOf()).toBe('requested');
  });

  it('too often is told to wait', async () => {
    const path = `/external-updates/${'A'.repeat(43)}`;
    const answers = await Promise.all(Array.from({ length: 130 }, () => post(path, done)));
    expect(answers.filter((status) => status === 429).length).toBeGreaterThan(0);
    expect(answers.filter((status) => status === 404).length).toBeLessThanOrEqual(120); // Two minutes at the most.
  });
});

describe('the act notify', () => {
  const telling = (epoch: number, channel = 'box'): PlannedStep => {
    const input = step('notify', move, epoch);
    const rest = { needs: [], timeoutMs: 1, attempts: 1, onFailure: 'hold' } as const;
    input.plan.decisions.steps = [
      { id: 'notify', act: 'notify', ...rest, needs: [], channel, message: 'the desk opens' },
    ];
    return input;
  };

  it('sends nothing for a move that was overtaken, nor through a channel that is not there', async () => {
    await setEpoch(3, 'another');
    expect(await kindOf(notify(west, telling(2)))).toBe('epoch-superseded');
    expect(await kindOf(notify(west, telling(3)))).toBe('epoch-superseded');
    await setEpoch(2, move);
    expect(await kindOf(notify(west, telling(2, 'nowhere')))).toBe('channel-unknown');
    expect(await mails()).toEqual([]);
  });

  it('sends once, also before the epoch is claimed, and its result names the channel', async () => {
    await setEpoch(1, 'provisioned');
    const first = await notify(west, telling(2));
    expect(first.facts).toEqual({ channel: 'box' });
    expect(await notify(west, telling(2))).toEqual(first);
    expect(await mails()).toEqual([expect.stringContaining('the desk opens')]);
  });
});
