import { once } from 'node:events';
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import type { IncomingHttpHeaders } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { OutsideAct } from '../../activities/services/outside.ts';
import type { CommandSettings, RequestSettings } from '../../activities/settings.ts';
import { newAuthority, newServer, type Authority } from '../rig/certificates.ts';

/** Services that are not ours, real ones, for both adapters: they do the same under the same names. */

/** `late` never comes to its end, and is given little time; `slow` is the same with much. `pause` takes half a second. */
export const names = [
  'good',
  'pause',
  'slow',
  'late',
  'flood',
  'busy',
  'refusing',
  'stale',
  'checked',
  'undone',
] as const;
type Name = (typeof names)[number];

export const LATE_MS = 700;
const timeoutMs = (name: Name): number => (name === 'late' ? LATE_MS : 30_000);

export interface Heard {
  name: string;
  key: string;
  epoch: string;
  move: string;
}

export interface Outside {
  act: OutsideAct;
  argument: 'request' | 'command';
  requests: ReadonlyMap<string, RequestSettings>;
  commands: ReadonlyMap<string, CommandSettings>;
  /** All that it was asked, in order. */
  heard(): Promise<Heard[]>;
  /** How much of what it was asked is under way. */
  underWay(): Promise<number>;
  forget(): Promise<void>;
  close(): Promise<void>;
}

export interface Asked {
  method: string;
  url: string;
  headers: IncomingHttpHeaders;
  body: string;
}

export interface HttpService extends Outside {
  origin: string;
  authority: Authority;
  asked: Asked[];
}

const statuses: Partial<Record<string, number>> = {
  busy: 503,
  conflict: 409,
  refusing: 400,
  stale: 409,
  checking: 204,
  undone: 404,
};

/** An HTTPS server on loopback with a certificate of an authority of its own. */
export async function httpService(certificateFor?: string): Promise<HttpService> {
  const authority = newAuthority('an authority');
  const asked: Asked[] = [];
  let underWay = 0;
  const server = createServer(newServer(authority, certificateFor), (request, response) => {
    let body = '';
    underWay += 1;
    response.once('close', () => (underWay -= 1));
    request.setEncoding('utf8').on('data', (text: string) => (body += text));
    request.on('end', () => {
      const { method = '', url = '', headers } = request;
      const name = url.slice(1);
      asked.push({ method, url, headers, body });
      if (name === 'slow' || name === 'late') return;
      if (name === 'redirect') response.writeHead(307, { location: `${origin}/good` });
      else if (name === 'stale')
        response.writeHead(409, { 'tandem-epoch': String(Number(headers['tandem-epoch']) + 1) });
      else response.writeHead(statuses[name] ?? 200);
      if (name === 'flood') response.write(Buffer.alloc(1 << 20));
      setTimeout(() => response.end('thank you'), name === 'pause' ? 500 : 0);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const origin = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const entry = (name: Name): RequestSettings => ({
    url: `${origin}/${name}`,
    method: 'POST',
    timeoutMs: timeoutMs(name),
    ca: authority.certificate,
    expects: null,
    check: name === 'checked' ? `${origin}/checking` : name === 'undone' ? `${origin}/undone` : null,
  });
  return {
    act: 'call-http',
    argument: 'request',
    requests: new Map(names.map((name) => [name, entry(name)])),
    commands: new Map(),
    origin,
    authority,
    asked,
    heard: () =>
      Promise.resolve(
        asked.map(({ url, headers }) => ({
          name: url.slice(1),
          key: String(headers['idempotency-key']),
          epoch: String(headers['tandem-epoch']),
          move: String(headers['tandem-move']),
        })),
      ),
    async underWay() {
      await new Promise((resolve) => setTimeout(resolve, 50)); // A closed connection is told to its other end.
      return underWay;
    },
    forget: () => Promise.resolve(void asked.splice(0)),
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** It forks: two children sleep beside it, one of them out of a subshell that ignores what it can. */
const SCRIPT = `#!/bin/sh
printf '%s %s %s %s\\n' "$1" "$TANDEM_KEY" "$TANDEM_EPOCH" "$TANDEM_MOVE" >>"$2/heard"
case "$1" in
  pause) sleep 0.5 ;;
  good) sleep 300 & ;;
  slow|late)
    (trap '' TERM INT HUP; sleep 300; echo late >>"$2/late") &
    sleep 300 &
    sleep 300
    echo late >>"$2/late" ;;
  flood) head -c 1048576 /dev/zero; sleep 300 ;;
  busy) exit 75 ;;
  refusing) printf 'first line\\n\\033[31mno such \\tline\\033[0m\\n' >&2; exit 3 ;;
  stale) exit 76 ;;
  undone) exit 1 ;;
  environment) env >"$2/environment" ;;
esac
`;

export interface CommandService extends Outside {
  folder: string;
  script: string;
}

/** A program on this machine. */
export async function commandService(): Promise<CommandService> {
  const folder = await mkdtemp(join(tmpdir(), 'tandem-command-'));
  const script = join(folder, 'service');
  process.env[MARK] = folder;
  await writeFile(script, SCRIPT);
  await chmod(script, 0o755);
  const entry = (name: Name): CommandSettings => ({
    run: [script, name, folder],
    timeoutMs: timeoutMs(name),
    outputBytes: 64 * 1024,
    environment: [MARK],
    check: name === 'checked' ? [script, 'busily', folder] : name === 'undone' ? [script, 'undone', folder] : null,
  });
  return {
    act: 'run-command',
    argument: 'command',
    requests: new Map(),
    commands: new Map(names.map((name) => [name, entry(name)])),
    folder,
    script,
    async heard() {
      const text = await readFile(join(folder, 'heard'), 'utf8').catch(() => '');
      return text.split('\n').flatMap((line) => {
        const [name = '', key = '', epoch = '', move = ''] = line.split(' ');
        return name === '' ? [] : [{ name, key, epoch, move }];
      });
    },
    underWay: () => processesOf(folder),
    forget: () => rm(join(folder, 'heard'), { force: true }),
    async close() {
      delete process.env[MARK];
      await rm(folder, { recursive: true });
    },
  };
}

/** In the environment of all that a service has started, in whatever group it is by now. */
const MARK = 'TEST_SERVICE';

async function processesOf(folder: string): Promise<number> {
  let found = 0;
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
    // The worker has the mark, too; what tells a command is the key.
    if (environment.includes(`${MARK}=${folder}\0`) && environment.includes('TANDEM_KEY=')) found += 1;
  }
  return found;
}
