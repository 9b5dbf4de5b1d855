import { createHmac } from 'node:crypto';
import { request as requestHttp, type ClientRequest, type IncomingMessage } from 'node:http';
import { request as requestHttps } from 'node:https';
import { failure } from '../../workflows/model/failures.ts';
import { oneLine, sending } from './limit.ts';
import type { Channel, Message, WebhookSettings } from './port.ts';

/** Of an answer no more is read: its status says all, its first words are for the operator. */
const LONGEST_ANSWER = 16_384;

/**
 * Posts JSON to one address, signed as Standard Webhooks has it (webhook-id, webhook-timestamp, webhook-signature); the id
 * is the message's key. 2xx is accepted. A redirect is refused: it would carry the message where nobody configured it.
 */
export function webhook(name: string, settings: WebhookSettings): Channel {
  return {
    name,
    send: (message, signal) => sending(name, message, signal, (limit) => post(name, settings, message, limit)),
  };
}

async function post(name: string, settings: WebhookSettings, message: Message, signal: AbortSignal): Promise<void> {
  const body = JSON.stringify(message);
  const { status, text } = await exchange(settings, headersOf(settings, message.key, body), body, signal);
  if (status >= 200 && status < 300) return;
  const said = `channel ${name}: ${new URL(settings.url).host} answered ${status}${text === '' ? '' : `, ${text}`}`;
  // Too early, too many, or its own fault: it may take the next one.
  throw failure(
    [408, 425, 429].includes(status) || status >= 500 ? 'channel-unreachable' : 'channel-refused',
    status >= 300 && status < 400 ? `${said}: redirects are not followed` : said,
  );
}

function headersOf({ secret }: WebhookSettings, id: string, body: string): Record<string, string> {
  const timestamp = String(Math.floor(Date.now() / 1000));
  return {
    'content-type': 'application/json; charset=utf-8',
    'content-length': String(Buffer.byteLength(body)),
    'user-agent': 'tandem',
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    ...(secret !== null && { 'webhook-signature': signatureOf(secret, `${id}.${timestamp}.${body}`) }),
  };
}

/** `v1,` and the HMAC-SHA256 in base64; a secret that begins with `whsec_` is base64 itself. */
export function signatureOf(secret: string, signed: string): string {
  const prefix = 'whsec_';
  const key = secret.startsWith(prefix) ? Buffer.from(secret.slice(prefix.length), 'base64') : Buffer.from(secret);
  return `v1,${createHmac('sha256', key).update(signed).digest('base64')}`;
}

function exchange(
  { url, ca }: WebhookSettings,
  headers: Record<string, string>,
  body: string,
  signal: AbortSignal,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const answered = (response: IncomingMessage): void => {
      let text = '';
      const done = (): void => {
        request.destroy();
        resolve({ status: response.statusCode ?? 0, text: oneLine(text) });
      };
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
        if (text.length > LONGEST_ANSWER) done();
      });
      response.once('end', done);
      response.once('error', reject);
    };
    // No kept connection: a page is rare, and one that has gone stale would lose it.
    const options = { method: 'POST', headers, signal, agent: false, ...(ca !== null && { ca }) };
    const request: ClientRequest = url.startsWith('https:')
      ? requestHttps(url, options, answered)
      : requestHttp(url, options, answered);
    request.once('error', reject);
    request.end(body);
  });
}
