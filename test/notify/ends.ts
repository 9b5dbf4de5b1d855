import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import type { IncomingHttpHeaders } from 'node:http';
import { createServer } from 'node:https';
import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SMTPServer } from 'smtp-server';
import type { ChannelSettings, Message, SmtpSettings, WebhookSettings } from '../../activities/notify/port.ts';
import { selfSigned } from './certificate.ts';

/** The other end of a channel: a real server that keeps what it accepted. */
export interface End<Settings extends ChannelSettings = ChannelSettings> {
  settings: Settings;
  /** What tells one message from another there, in the order of arrival. */
  accepted: () => Promise<{ id: string; text: string }[]>;
  close: () => Promise<void>;
}

const good = selfSigned();
/** Of somebody else, for the same address. */
export const another = selfSigned();

export interface WebhookEnd extends End<WebhookSettings> {
  received: { headers: IncomingHttpHeaders; body: string }[];
  /** What it answers from now on. */
  answer: { status: number; headers?: Record<string, string>; body?: string };
}

export async function webhookEnd(): Promise<WebhookEnd> {
  const received: WebhookEnd['received'] = [];
  const server = createServer({ key: good.key, cert: good.cert }, (request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      if (end.answer.status < 300) received.push({ headers: request.headers, body });
      response.writeHead(end.answer.status, end.answer.headers).end(end.answer.body ?? '');
    });
  });
  const port = await listening(server);
  const end: WebhookEnd = {
    settings: { kind: 'webhook', url: `https://127.0.0.1:${port}/hook`, secret: 'a secret', ca: good.cert },
    received,
    answer: { status: 204 },
    accepted: async () =>
      received.map(({ headers, body }) => ({
        id: String(headers['webhook-id']),
        text: (JSON.parse(body) as Message).text,
      })),
    close: () => closed(server),
  };
  return end;
}

export interface SmtpEnd extends End<SmtpSettings> {
  mails: string[];
  /** Whether each session was encrypted when its mail came. */
  encrypted: boolean[];
  /** Refuses this recipient for good. */
  refuses: string | null;
}

export async function smtpEnd({ starttls = true, implicit = false } = {}): Promise<SmtpEnd> {
  const mails: string[] = [];
  const encrypted: boolean[] = [];
  const server = new SMTPServer({
    secure: implicit,
    key: good.key,
    cert: good.cert,
    disabledCommands: starttls ? [] : ['STARTTLS'],
    allowInsecureAuth: false,
    authOptional: true,
    onAuth: ({ username, password }, _, done) =>
      username === 'tandem' && password === 'its password'
        ? done(null, { user: username })
        : done(new Error('no such user')),
    onRcptTo: ({ address }, _, done) =>
      address === end.refuses
        ? done(Object.assign(new Error(`unknown user ${address}`), { responseCode: 550 }))
        : done(),
    onData: (stream, session, done) => {
      let text = '';
      stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
      stream.on('end', () => {
        mails.push(text);
        encrypted.push(session.secure);
        done();
      });
    },
  });
  server.on('error', () => undefined); // A client that refuses the certificate is what some tests want.
  const port = await listening(server);
  const end: SmtpEnd = {
    settings: {
      kind: 'smtp',
      host: '127.0.0.1',
      port,
      tls: implicit ? 'implicit' : 'required',
      user: 'tandem',
      password: 'its password',
      from: 'tandem@contoso.example',
      to: ['duty@contoso.example'],
      ca: good.cert,
    },
    mails,
    encrypted,
    refuses: null,
    accepted: async () =>
      mails.map((mail) => ({
        id: /^Message-ID: (.*)$/im.exec(mail)?.[1]?.trim() ?? '',
        text: mail.slice(mail.indexOf('\r\n\r\n') + 4).replaceAll('\r\n', '\n'),
      })),
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
  return end;
}

export async function outboxEnd(): Promise<End & { folder: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'tandem-outbox-'));
  return {
    folder,
    settings: { kind: 'outbox', folder },
    async accepted() {
      const names = await readdir(join(folder, 'new'));
      return Promise.all(
        names.map(async (id) => ({
          id,
          text: (JSON.parse(await readFile(join(folder, 'new', id), 'utf8')) as Message).text,
        })),
      );
    },
    close: () => rm(folder, { recursive: true }),
  };
}

/** Takes connections and says nothing, for ever. */
export async function silentEnd(): Promise<{ port: number; close: () => Promise<void> }> {
  const open = new Set<Socket>();
  const server = createTcpServer((socket) => {
    open.add(socket);
    socket.on('error', () => undefined);
  });
  const port = await listening(server);
  return {
    port,
    close() {
      for (const socket of open) socket.destroy();
      return closed(server);
    },
  };
}

async function listening(server: {
  listen: (port: number, host: string, done: () => void) => unknown;
  address?: Server['address'];
  server?: Pick<Server, 'address'>;
}): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.server ? server.server.address() : server.address?.();
  return (address as AddressInfo).port;
}

const closed = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => resolve());
    if ('closeAllConnections' in server) (server.closeAllConnections as () => void)();
  });
