import {
  Agent,
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import type { Blow } from './tripwire.ts';

/**
 * What befalls one request. The upstream never sees a request that is refused, reset or left hanging; it does the whole
 * work of one whose answer is lost, cut, stalled or slow.
 */
export type Fault =
  | 'lose-answer'
  | 'refuse-500'
  | 'refuse-503-slowdown'
  | 'refuse-409'
  | 'reset-before'
  /** Half of the body, then the connection is destroyed. */
  | 'cut-body'
  /** Half of the body, then silence on a connection that stays open. */
  | 'stall-body'
  /** The body byte by byte, each sooner than any limit on silence, and never the last one. */
  | 'trickle-body'
  | 'hang'
  | 'clock-skew'
  /** Success where the upstream said 412: what a server answers that does not know conditional writes. */
  | 'ignore-condition'
  | { slowMs: number }
  /** The client ends, or its server does; amid an answer as after it. */
  | Blow
  /** The answer dated by a clock that is ahead by so much; behind when it is negative. */
  | { datedMs: number };

/** `n` counts the requests since the rule was set, from 1. Null: nothing befalls it. */
export type Rule = (n: number, method: string, url: string) => Fault | null;

export interface Seen {
  n: number;
  method: string;
  url: string;
  fault: Fault | null;
  /** Of the upstream's answer; null while there is none. */
  upstream: number | null;
}

const TRICKLE_MS = 20;

const xml = (code: string, message: string): string =>
  `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message></Error>`;

const refusals = {
  'refuse-500': { status: 500, body: xml('InternalError', 'We encountered an internal error. Please try again.') },
  'refuse-503-slowdown': { status: 503, body: xml('SlowDown', 'Please reduce your request rate.') },
  'refuse-409': {
    status: 409,
    body: xml('ConditionalRequestConflict', 'A conflicting operation occurred during this request.'),
  },
  'clock-skew': {
    status: 403,
    body: xml('RequestTimeTooSkewed', 'The difference between the request time and the current time is too large.'),
  },
} as const;

/**
 * Stands between a client and a real S3 server on loopback, and makes of a request what its rule says. All else passes
 * as it came, header for header: the client signs the proxy's host, and the server checks the signature against the host
 * that it is sent.
 */
export class FaultProxy {
  /** The requests since the rule was set, in the order in which they came. */
  seen: Seen[] = [];
  private rule: Rule = () => null;
  private readonly agent = new Agent({ keepAlive: true });

  private readonly server: Server;
  private readonly upstream: URL;

  private constructor(server: Server, upstream: URL) {
    this.server = server;
    this.upstream = upstream;
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      // A client that has gone away, or an upstream that has: its socket is all that can still be closed.
      this.handle(request, response).catch(() => request.socket.destroy());
    });
  }

  static async open(upstream: string): Promise<FaultProxy> {
    const server = createServer();
    // A hanging answer must not be ended by the proxy's own limits.
    server.requestTimeout = 0;
    const proxy = new FaultProxy(server, new URL(upstream));
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    return proxy;
  }

  get endpoint(): string {
    const address = this.server.address();
    if (typeof address !== 'object' || !address) throw new Error('the fault proxy is closed');
    return `http://127.0.0.1:${address.port}`;
  }

  /** From here on; the count begins anew. Without a rule everything passes. */
  set(rule: Rule = () => null): void {
    this.rule = rule;
    this.seen = [];
  }

  count(method?: string): number {
    return this.seen.filter((s) => method === undefined || s.method === method).length;
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    this.agent.destroy();
    await new Promise<void>((done) => this.server.close(() => done()));
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = 'GET', url = '/' } = request;
    const entry: Seen = { n: this.seen.length + 1, method, url, fault: null, upstream: null };
    this.seen.push(entry);
    const fault = this.rule(entry.n, method, url);
    entry.fault = fault;
    if (fault === 'reset-before') {
      request.socket.destroy();
      return;
    }
    const blow = typeof fault === 'object' && fault && 'strike' in fault ? fault : null;
    if (blow?.when === 'before') {
      blow.strike();
      return;
    }
    const body = await whole(request);
    if (fault === 'hang') return;
    if (typeof fault === 'string' && fault in refusals) {
      refuse(response, fault as keyof typeof refusals);
      return;
    }
    const answer = await this.forward(request, body);
    entry.upstream = answer.message.statusCode ?? null;
    if (blow) {
      blow.strike();
      return;
    }
    await reply(response, answer, fault);
  }

  private forward(request: IncomingMessage, body: Buffer): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const onward = httpRequest(
        {
          host: this.upstream.hostname,
          port: this.upstream.port,
          method: request.method,
          path: request.url,
          // The raw list keeps case, order and Host as the client signed them; the body is at hand, nobody waits for 100.
          headers: without(request.rawHeaders, 'expect'),
          agent: this.agent,
        },
        (message) => {
          whole(message).then((bytes) => resolve({ message, bytes }), reject);
        },
      );
      onward.once('error', reject);
      onward.end(body);
    });
  }
}

interface Answer {
  message: IncomingMessage;
  bytes: Buffer;
}

async function reply(response: ServerResponse, { message, bytes }: Answer, fault: Fault | null): Promise<void> {
  if (fault === 'lose-answer') {
    response.destroy();
    return;
  }
  if (typeof fault === 'object' && fault && 'slowMs' in fault) await wait(fault.slowMs);
  const ignored = fault === 'ignore-condition' && message.statusCode === 412;
  response.sendDate = false;
  if (ignored) {
    response.writeHead(200, ['Date', new Date().toUTCString(), 'ETag', '"0"', 'Content-Length', '0']).end();
    return;
  }
  let headers = message.rawHeaders;
  if (typeof fault === 'object' && fault && 'datedMs' in fault)
    headers = [...without(headers, 'date'), 'Date', new Date(Date.now() + fault.datedMs).toUTCString()];
  response.writeHead(message.statusCode ?? 502, message.statusMessage, headers);
  if (fault === 'cut-body' || fault === 'stall-body') {
    // Flushed first: a destroyed socket takes what is still buffered with it.
    await new Promise<void>((done) => response.write(bytes.subarray(0, bytes.length >> 1), () => done()));
    if (fault === 'cut-body') response.destroy();
  } else if (fault === 'trickle-body') await trickle(response, bytes);
  else response.end(bytes);
}

async function trickle(response: ServerResponse, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length - 1 && !response.destroyed; at += 1) {
    response.write(bytes.subarray(at, at + 1));
    await wait(TRICKLE_MS);
  }
}

function refuse(response: ServerResponse, fault: keyof typeof refusals): void {
  const { status, body } = refusals[fault];
  response.writeHead(status, { 'Content-Type': 'application/xml', 'Content-Length': Buffer.byteLength(body) });
  response.end(body);
}

/** Names and values in turn, as node:http reads and writes them. */
function without(rawHeaders: readonly string[], name: string): string[] {
  return rawHeaders.filter((_, i) => rawHeaders[i - (i % 2)]?.toLowerCase() !== name);
}

async function whole(message: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of message) parts.push(part as Buffer);
  return Buffer.concat(parts);
}
