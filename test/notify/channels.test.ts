import { createHmac } from 'node:crypto';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openChannel } from '../../activities/notify/channels.ts';
import { sending } from '../../activities/notify/limit.ts';
import { pageOperators } from '../../activities/notify/page.ts';
import type { Message } from '../../activities/notify/port.ts';
import { failureKind, failureText } from '../../workflows/model/failures.ts';
import { another, outboxEnd, silentEnd, smtpEnd, webhookEnd, type End, type SmtpEnd, type WebhookEnd } from './ends.ts';
import { freePort } from '../rig/ports.ts';

/** What is promised of every way to people outside, on real servers with real certificates. */

const message = (change: Partial<Message> = {}): Message => ({
  key: 'contoso/m1/alarm/1',
  subject: 'contoso: step contacts is held',
  text: 'Waits for an operator.\nNext: tandem failover retry\n',
  customer: 'contoso',
  move: 'm1',
  severity: 'critical',
  ...change,
});

let hook: WebhookEnd;
let mail: SmtpEnd;
let implicit: SmtpEnd;
let plain: SmtpEnd;
let box: End & { folder: string };
beforeAll(async () => {
  [hook, mail, implicit, plain, box] = await Promise.all([
    webhookEnd(),
    smtpEnd(),
    smtpEnd({ implicit: true }),
    smtpEnd({ starttls: false }),
    outboxEnd(),
  ]);
});
afterAll(() => Promise.all([hook, mail, implicit, plain, box].map((end) => end.close())));

const told = async (work: Promise<unknown>): Promise<[string | undefined, string]> =>
  work.then(
    () => ['accepted', ''],
    (error: unknown) => [failureKind(error), failureText(error)],
  );

describe.each([
  ['webhook', () => hook],
  ['smtp', () => mail],
  ['smtp with TLS from the first byte', () => implicit],
  ['outbox', () => box],
])('every channel: %s', (_, end) => {
  const send = (change?: Partial<Message>): Promise<void> => openChannel('duty', end().settings).send(message(change));

  it('takes no key that could be two', async () => {
    for (const key of ['', 'two words', 'a\r\nBcc: x', 'ü', 'k'.repeat(201)])
      expect((await told(send({ key })))[0]).toBe('input-invalid');
  });

  it('brings a message whole, and the same key is the same message at the other end', async () => {
    const before = (
      await end()
        .accepted()
        .catch(() => [])
    ).length;
    await send();
    await send();
    await send({ key: 'contoso/m1/alarm/2' });
    const there = (await end().accepted()).slice(before);
    expect(new Set(there.map(({ id }) => id)).size).toBe(2);
    for (const { text } of there) expect(text.trim()).toBe(message().text.trim());
  });
});

describe('a webhook', () => {
  const send = (change: Partial<WebhookEnd['settings']> = {}): Promise<[string | undefined, string]> =>
    told(openChannel('duty', { ...hook.settings, ...change }).send(message()));

  it('is never told to a server with another certificate, nor where it is redirected', async () => {
    const before = hook.received.length;
    expect(await send({ ca: another.cert })).toEqual(['channel-unreachable', expect.stringMatching(/certificate/)]);
    hook.answer = { status: 307, headers: { location: `${hook.settings.url}/else` } };
    expect(await send()).toEqual(['channel-refused', expect.stringMatching(/307: redirects are not followed/)]);
    hook.answer = { status: 204 };
    expect(hook.received).toHaveLength(before);
  });

  it('carries a signature over id, time and body, which nobody makes without the secret', async () => {
    await send();
    const { headers, body } = hook.received.at(-1) ?? { headers: {}, body: '' };
    const signed = `contoso/m1/alarm/1.${String(headers['webhook-timestamp'])}.${body}`;
    const mac = (secret: string): string => `v1,${createHmac('sha256', secret).update(signed).digest('base64')}`;
    expect(headers['webhook-signature']).toBe(mac('a secret'));
    expect(headers['webhook-signature']).not.toBe(mac('another'));
    expect(Math.abs(Number(headers['webhook-timestamp']) - Date.now() / 1000)).toBeLessThan(5);
    expect(JSON.parse(body)).toEqual(message());
    await send({ secret: `whsec_${Buffer.from('a secret').toString('base64')}` });
    expect(hook.received.at(-1)?.headers['webhook-signature']).toMatch(/^v1,/);
  });

  it('that answers without end is not read to the end', async () => {
    hook.answer = { status: 200, body: 'x'.repeat(5_000_000) };
    const started = performance.now();
    expect((await send())[0]).toBe('accepted');
    expect(performance.now() - started).toBeLessThan(2000);
    hook.answer = { status: 204 };
  });

  it.each([
    [404, 'channel-refused'],
    [429, 'channel-unreachable'],
    [503, 'channel-unreachable'],
  ])('that answers %i has not accepted: %s', async (status, kind) => {
    hook.answer = { status, body: 'ask duty@contoso.example' };
    const [seen, text] = await send();
    expect(seen).toBe(kind);
    expect(text).toBe(`channel duty: ${new URL(hook.settings.url).host} answered ${status}, ask (address)`);
    hook.answer = { status: 204 };
  });
});

describe('a mail', () => {
  const send = (end: SmtpEnd, change: Partial<SmtpEnd['settings']> = {}): Promise<[string | undefined, string]> =>
    told(openChannel('duty', { ...end.settings, ...change }).send(message()));

  it('is never handed to a server with another certificate, nor in clear where encryption is required', async () => {
    const before = [mail, implicit, plain].map(({ mails }) => mails.length);
    expect((await send(mail, { ca: another.cert }))[1]).toMatch(/certificate/);
    expect((await send(implicit, { ca: another.cert }))[1]).toMatch(/certificate/);
    expect((await send(plain))[0]).toBe('channel-refused');
    expect([mail, implicit, plain].map(({ mails }) => mails.length)).toEqual(before);
  });

  it('goes in clear only where the configuration says so', async () => {
    expect((await send(plain, { tls: 'none', user: null, password: null }))[0]).toBe('accepted');
    expect(plain.encrypted).toEqual([false]);
    expect(new Set([...mail.encrypted, ...implicit.encrypted])).toEqual(new Set([true]));
  });

  it('that is refused says so without the address of anybody', async () => {
    mail.refuses = 'duty@contoso.example';
    const [kind, text] = await send(mail);
    mail.refuses = null;
    expect(kind).toBe('channel-refused');
    expect(text).toMatch(/550/);
    expect(text).not.toContain('@');
    expect(await send(mail, { password: 'wrong' })).toEqual(['channel-refused', expect.stringMatching(/535/)]);
  });
});

describe('an outbox', () => {
  it('does not leave again what the agent has taken', async () => {
    const channel = openChannel('duty', box.settings);
    await channel.send(message({ key: 'taken' }));
    const [name = ''] = (await box.accepted()).map(({ id }) => id).slice(-1);
    for (const { id } of await box.accepted()) await rename(join(box.folder, 'new', id), join(box.folder, 'cur', id));
    expect(name).not.toBe('');
    await channel.send(message({ key: 'taken' }));
    expect(await box.accepted()).toEqual([]);
  });

  it('that cannot be written is away', async () => {
    const file = join(box.folder, 'a-file');
    await mkdir(box.folder, { recursive: true });
    await writeFile(file, '');
    expect((await told(openChannel('duty', { kind: 'outbox', folder: file }).send(message())))[0]).toBe(
      'channel-unreachable',
    );
  });
});

describe('a channel that hangs', () => {
  it('is left when its time is over, and named', async () => {
    const started = performance.now();
    const hanging = sending(
      'duty',
      message(),
      undefined,
      (signal) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted')))),
      50,
    );
    expect(await told(hanging)).toEqual(['channel-unreachable', 'channel duty: no answer within 0.05 s']);
    expect(performance.now() - started).toBeLessThan(5000);
  });

  it('holds up no other page, and does not fail it; all are tried at once', async () => {
    const silent = await silentEnd();
    const closedPort = await freePort();
    const away = { ...hook.settings, url: `https://127.0.0.1:${closedPort}/` };
    const channels = new Map(
      Object.entries({
        hook: hook.settings,
        mail: mail.settings,
        away,
        hangs: { ...hook.settings, url: `https://127.0.0.1:${silent.port}/` },
        mute: { ...mail.settings, port: silent.port },
      }),
    );
    const page = { customer: 'contoso', move: 'm1', key: 'page/1', subject: 'held', text: 'held' };
    const [hooks, mails] = [hook.received.length, mail.mails.length];
    const paging = [...channels.keys(), 'nowhere'];
    const started = performance.now();
    const result = await pageOperators({ site: 'west', channels, paging }, page);
    const took = performance.now() - started;
    await silent.close();
    expect(result.sent).toEqual(['hook', 'mail']);
    expect(result.failed.map(({ channel }) => channel)).toEqual(['away', 'hangs', 'mute', 'nowhere']);
    expect(result.failed.map(({ because }) => because).join('\n')).toMatch(/ECONNREFUSED[\s\S]*no answer within 10 s/);
    expect([hook.received.length - hooks, mail.mails.length - mails]).toEqual([1, 1]);
    expect(took).toBeLessThan(15_000);
  }, 30_000);
});
