import { request as overHttp } from 'node:http';
import { request as overTls } from 'node:https';
import { withDate } from '../probes/certificate.ts';
import type { ManagementAccess } from '../settings.ts';

/** ejabberd's API (mod_http_api): what Tandem asks a service that it knows. Nothing in here changes who may serve. */

const ANSWER_BYTES = 1024 * 1024;
/** To look again at a certificate that was refused, for what is said of it. */
const DATE_LIMIT_MS = 1000;

/**
 * Makes the service read now what the site's database says of the right to serve, and answers which site it then takes each
 * half to be served by. Rejects when it does not answer in time, refuses, or could not read.
 */
export async function rightsObeyed(
  access: ManagementAccess,
  host: string,
  limit: { limitMs: number; signal?: AbortSignal | undefined },
): Promise<ReadonlyMap<string, string>> {
  if ((await askService(access, 'tandem_look_again', { host }, limit)) !== 0)
    throw new Error('it could not read the right to serve from its database');
  const rights = await askService(access, 'tandem_rights', { host }, limit);
  if (!Array.isArray(rights)) throw new Error('tandem_rights: no list was answered');
  return new Map(rights.map((right) => String(right).split('=') as [string, string]));
}

/** One command, and its answer as JSON. */
export async function askService(
  { url, token, ca }: ManagementAccess,
  command: string,
  args: Record<string, string>,
  { limitMs, signal }: { limitMs: number; signal?: AbortSignal | undefined },
): Promise<unknown> {
  const limit = AbortSignal.timeout(limitMs);
  const at = new URL(`${url}/${command}`);
  const body = JSON.stringify(args);
  const options = {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      'content-length': String(Buffer.byteLength(body)),
    },
    agent: false,
    signal: signal ? AbortSignal.any([signal, limit]) : limit,
    rejectUnauthorized: true, // Said, because a variable of the environment would turn it off.
    minVersion: 'TLSv1.2',
    ...(ca !== null && { ca }),
  } as const;
  try {
    const { status, text } = await new Promise<{ status: number; text: string }>((resolve, reject) => {
      const sent = (at.protocol === 'https:' ? overTls : overHttp)(at, options);
      sent.on('error', reject);
      sent.on('response', (answer) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        answer.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > ANSWER_BYTES) sent.destroy(new Error(`answers more than ${ANSWER_BYTES} bytes`));
          else chunks.push(chunk);
        });
        answer.on('error', reject);
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString() }));
      });
      sent.end(body);
    });
    if (status !== 200) throw new Error(`answered with ${status}`);
    return JSON.parse(text) as unknown;
  } catch (error) {
    signal?.throwIfAborted();
    const place = { host: at.hostname.replaceAll(/[[\]]/g, ''), port: Number(at.port || 443), of: 'https' } as const;
    const because = limit.aborted
      ? `no whole answer within ${limitMs} ms`
      : (await withDate(error, place, at.hostname, DATE_LIMIT_MS)).message;
    throw new Error(`${command}: ${because}`, { cause: error });
  }
}
