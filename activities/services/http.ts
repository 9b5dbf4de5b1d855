import { createHash } from 'node:crypto';
import { request as overHttp, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as overTls } from 'node:https';
import { failure } from '../../workflows/model/failures.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import type { RequestSettings, SiteSettings } from '../settings.ts';
import { contentDigest, signatureFields, type Components } from './message-signature.ts';
import { listed, type OutsideCall, type OutsideEffect, type OutsideLimits } from './port.ts';

/** Nobody reads an answer: its status counts. More than this is no answer. */
const ANSWER_BYTES = 64 * 1024;
/** Statuses that ask to be asked again (RFC 9110, RFC 8470, RFC 6585). */
const LATER = [408, 425, 429];
/** Statuses with which a service may say that the epoch is stale. */
const STALE = [409, 412];
/** Of a certificate that is not who the configuration names, or that nobody vouches for: asking again mends nothing. */
const NOT_TRUSTED = /^(ERR_TLS_|CERT_|CRL_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|INVALID_|HOSTNAME_|PATH_LENGTH_)/;

interface Answer {
  status: number;
  headers: IncomingMessage['headers'];
  bytes: number;
  digest: string;
}

/**
 * Adapter: a request over HTTPS, signed with this site's key (ops/OUTSIDE.md tells its receiver how to verify it). Each has
 * a connection of its own; redirects are never followed, proxies never used.
 */
export function httpEffect(settings: SiteSettings): OutsideEffect {
  const entry = (name: string): RequestSettings => listed('request', settings.requests, name, settings.site);
  return {
    limitMs: (name) => entry(name).timeoutMs,
    async perform(name, call, limits) {
      const request = entry(name);
      const { customer, move, epoch, act, step, round, from, to } = call;
      const body = Buffer.from(JSON.stringify({ customer, move, epoch, act, step, round, from, to }));
      const answer = await ask(`request ${name}`, request.method, request.url, {
        settings,
        request,
        call,
        limits,
        body,
      });
      return judged(name, request, call, answer);
    },
    async check(name, call, limits) {
      const request = entry(name);
      if (request.check === null) return { seen: true, summary: `request ${name}: nothing here can see it` };
      const answer = await ask(`check of ${name}`, 'GET', request.check, {
        settings,
        request,
        call,
        limits,
        body: null,
      });
      const seen = answer.status >= 200 && answer.status < 300;
      return { seen, summary: `check of ${name} answers ${answer.status}` };
    },
  };
}

function judged(name: string, { expects }: RequestSettings, call: OutsideCall, answer: Answer): StepResult {
  const { status, bytes, digest } = answer;
  const done = expects ? expects.includes(status) : status >= 200 && status < 300;
  if (done) {
    return {
      summary: `request ${name} was answered with ${status}`,
      facts: { status, answerBytes: bytes, answerDigest: digest },
    };
  }
  const newer = STALE.includes(status) ? newerEpoch(answer, call) : null;
  if (newer !== null)
    throw failure('epoch-superseded', `request ${name}: ${status}, ${newer}; this move offers ${call.epoch}`);
  if (status >= 300 && status < 400)
    throw failure('request-refused', `request ${name}: ${status}, a redirect; none is followed`);
  const again = status >= 500 || LATER.includes(status);
  throw failure(again ? 'request-failed' : 'request-refused', `request ${name}: answered with ${status}`);
}

/** A service that refuses an epoch names the one it holds; the same number counts when it is another move's. */
function newerEpoch({ headers }: Answer, { epoch, move }: OutsideCall): string | null {
  const [held, by] = [headers['tandem-epoch'], headers['tandem-move']];
  if (typeof held !== 'string' || !/^\d{1,15}$/.test(held)) return null;
  const another = typeof by === 'string' && by !== '' && by !== move;
  return Number(held) > epoch || (Number(held) === epoch && another) ? `it holds epoch ${held} of another move` : null;
}

interface Asked {
  settings: SiteSettings;
  request: RequestSettings;
  call: OutsideCall;
  limits: OutsideLimits;
  body: Buffer | null;
}

/** One request and its answer; ended at the limit and at the signal. */
async function ask(what: string, method: string, url: string, asked: Asked): Promise<Answer> {
  const { limitMs, signal } = asked.limits;
  const limit = AbortSignal.timeout(limitMs);
  const ended = AbortSignal.any([signal, limit]);
  try {
    return await exchange(what, new URL(url), method, asked, ended);
  } catch (error) {
    signal.throwIfAborted();
    if (limit.aborted) throw failure('request-failed', `${what}: no whole answer within ${limitMs} ms`);
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    if (NOT_TRUSTED.test(code)) throw failure('request-refused', `${what}: ${code}, its certificate is not trusted`);
    throw code === '' ? error : failure('request-failed', `${what}: ${code}`);
  }
}

function exchange(what: string, url: URL, method: string, asked: Asked, signal: AbortSignal): Promise<Answer> {
  const { request, body } = asked;
  const options: RequestOptions & { ca?: string; rejectUnauthorized: true; minVersion: 'TLSv1.2' } = {
    method,
    headers: headersOf(url, method, asked),
    agent: false,
    signal,
    maxHeaderSize: 16 * 1024,
    rejectUnauthorized: true, // Said, because a variable of the environment would turn it off.
    minVersion: 'TLSv1.2',
    ...(request.ca !== null && { ca: request.ca }),
  };
  return new Promise((resolve, reject) => {
    const sent = (url.protocol === 'https:' ? overTls : overHttp)(url, options);
    sent.on('error', reject);
    sent.on('response', (answer) => {
      const hash = createHash('sha256');
      let bytes = 0;
      answer.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        hash.update(chunk);
        if (bytes <= ANSWER_BYTES) return;
        reject(failure('request-refused', `${what}: answers more than ${ANSWER_BYTES} bytes`));
        sent.destroy();
      });
      answer.on('error', reject);
      answer.on('end', () => {
        const digest = hash.digest('hex').slice(0, 16);
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, bytes, digest });
      });
    });
    sent.end(body ?? undefined);
  });
}

function headersOf(url: URL, method: string, { settings, call, body }: Asked): Record<string, string> {
  const fields: Record<string, string> = {
    ...(body && { 'content-type': 'application/json', 'content-digest': contentDigest(body) }),
    'idempotency-key': call.key,
    'tandem-epoch': String(call.epoch),
    'tandem-move': call.move,
  };
  const target = [
    ['@method', method],
    ['@target-uri', url.href],
  ] as const;
  const components: Components = [...target, ...Object.entries(fields)];
  const parameters = {
    created: Math.floor(Date.now() / 1000),
    keyid: settings.site,
    alg: 'ed25519',
    tag: 'tandem',
  } as const;
  return {
    ...fields,
    ...(body && { 'content-length': String(body.length) }),
    'user-agent': 'tandem',
    ...signatureFields(components, parameters, settings.signingKey),
  };
}
