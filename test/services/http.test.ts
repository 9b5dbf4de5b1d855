import { createPrivateKey, createPublicKey, generateKeyPairSync, verify } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { httpEffect } from '../../activities/services/http.ts';
import {
  contentDigest,
  signatureBase,
  signatureFields,
  signatureParameters,
} from '../../activities/services/message-signature.ts';
import type { OutsideCall } from '../../activities/services/port.ts';
import type { RequestSettings, SiteSettings } from '../../activities/settings.ts';
import { openSshLine } from '../../ops/keys.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import { kindOf } from '../failover-acts/world.ts';
import { newAuthority } from '../rig/certificates.ts';
import { httpService, type Asked, type HttpService } from './outside.ts';

/** What only a request over HTTP can do wrong. The promises of every effect outside are in outside.test.ts. */

let service: HttpService;
let misnamed: HttpService;
const site = generateKeyPairSync('ed25519');
beforeAll(async () => {
  service = await httpService();
  misnamed = await httpService('pbx.example');
});
afterAll(() => Promise.all([service.close(), misnamed.close()]));

const call: OutsideCall = {
  key: 'contoso/2/warn/0',
  customer: 'contoso',
  move: 'a-move',
  epoch: 2,
  act: 'call-http',
  step: 'warn',
  round: 0,
  from: 'east',
  to: 'west',
};

function ask(change: Partial<RequestSettings> = {}, at: HttpService = service): Promise<StepResult> {
  const good = at.requests.get('good');
  if (!good) throw new Error('no entry');
  const requests = new Map([['warn', { ...good, ...change }]]);
  const settings = { site: 'west', signingKey: site.privateKey, requests } as unknown as SiteSettings;
  return httpEffect(settings).perform('warn', call, { limitMs: 5000, signal: new AbortController().signal });
}

type IsFromSite = (asked: Asked, sshLine: string, now?: number) => boolean;

/** The example that receivers are given, as it stands there. */
async function example(): Promise<IsFromSite> {
  const text = await readFile(fileURLToPath(new URL('../../ops/OUTSIDE.md', import.meta.url)), 'utf8');
  const code = /```js\n([\s\S]*?)```/.exec(text)?.[1] ?? '';
  const module = (await import(`data:text/javascript,${encodeURIComponent(code)}`)) as { isFromSite: IsFromSite };
  return module.isFromSite;
}

describe('a request never', () => {
  it('reaches a server whose certificate another authority vouches for, or nobody, or for another name', async () => {
    const before = service.asked.length + misnamed.asked.length;
    expect(await kindOf(ask({ ca: newAuthority('another').certificate }))).toBe('request-refused');
    expect(await kindOf(ask({ ca: null }))).toBe('request-refused');
    expect(await kindOf(ask({}, misnamed))).toBe('request-refused');
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
    try {
      expect(await kindOf(ask({ ca: null }))).toBe('request-refused');
    } finally {
      delete process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
    }
    expect(service.asked.length + misnamed.asked.length).toBe(before);
  });

  it('follows a redirect', async () => {
    await service.forget();
    await expect(ask({ url: `${service.origin}/redirect` })).rejects.toMatchObject({
      type: 'request-refused',
      message: 'request warn: 307, a redirect; none is followed',
    });
    expect(service.asked.map(({ url }) => url)).toEqual(['/redirect']);
  });

  it('takes a status for done that is not expected', async () => {
    expect(await kindOf(ask({ expects: [202] }))).toBe('request-refused');
    expect((await ask({ expects: [200] })).facts).toMatchObject({ status: 200, answerBytes: 9 });
    expect((await ask({ url: `${service.origin}/undone`, expects: [404] })).facts).toMatchObject({ status: 404 });
  });

  it('takes a conflict for a newer epoch when the service does not say which it holds', async () => {
    expect(await kindOf(ask({ url: `${service.origin}/stale` }))).toBe('epoch-superseded');
    expect(await kindOf(ask({ url: `${service.origin}/conflict` }))).toBe('request-refused');
  });

  it('waits for a server that cannot be reached: it is asked again', async () => {
    expect(await kindOf(ask({ url: 'https://127.0.0.1:9/good' }))).toBe('request-failed');
  });
});

describe('a request', () => {
  it('is signed with the key of its site over method, address, body, key and epoch', async () => {
    await service.forget();
    await ask();
    const [asked] = service.asked;
    if (!asked) throw new Error('nothing came');
    const isFromSite = await example();
    const line = openSshLine(site.publicKey);
    const here = { ...asked, url: `${service.origin}/good` };
    expect(isFromSite(here, line)).toBe(true);
    expect(isFromSite({ ...here, url: `${service.origin}/other` }, line)).toBe(false);
    expect(isFromSite({ ...here, method: 'PUT' }, line)).toBe(false);
    expect(isFromSite({ ...here, body: here.body.replace('east', 'west') }, line)).toBe(false);
    for (const name of ['idempotency-key', 'tandem-epoch', 'tandem-move', 'content-digest', 'signature'])
      expect(isFromSite({ ...here, headers: { ...here.headers, [name]: '3' } }, line)).toBe(false);
    expect(isFromSite(here, openSshLine(generateKeyPairSync('ed25519').publicKey))).toBe(false);
    expect(isFromSite(here, line, Date.now() + 400_000)).toBe(false);
  });

  it('tells which step of which move asks, and nothing else', async () => {
    await service.forget();
    await ask();
    const [asked] = service.asked;
    const { key, ...told } = call;
    expect(JSON.parse(asked?.body ?? '')).toEqual(told);
    expect(asked?.headers).toMatchObject({
      'idempotency-key': key,
      'tandem-epoch': '2',
      'tandem-move': 'a-move',
      'content-type': 'application/json',
      connection: 'close',
    });
    expect(asked?.headers['signature-input']).toMatch(/;created=\d{10};keyid="west";alg="ed25519";tag="tandem"$/);
  });
});

describe('signatures', () => {
  // RFC 9421, B.1.4 and B.2.6.
  const key = createPrivateKey(
    '-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF\n-----END PRIVATE KEY-----\n',
  );
  const components = [
    ['date', 'Tue, 20 Apr 2021 02:07:55 GMT'],
    ['@method', 'POST'],
    ['@path', '/foo'],
    ['@authority', 'example.com'],
    ['content-type', 'application/json'],
    ['content-length', '18'],
  ] as const;
  const given = { created: 1_618_884_473, keyid: 'test-key-ed25519' };

  it('are those of the RFC for its example', () => {
    expect(signatureFields(components, given, key)).toEqual({
      'signature-input':
        'tandem=("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"',
      signature: 'tandem=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:',
    });
    const base = signatureBase(components, signatureParameters(components, given));
    const signature = Buffer.from(
      'wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==',
      'base64',
    );
    expect(verify(null, Buffer.from(base), createPublicKey(key), signature)).toBe(true);
  });

  it('stand over the digest of RFC 9530', () => {
    expect(contentDigest(Buffer.from('{"hello": "world"}\n'))).toBe(
      'sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:',
    );
  });
});
