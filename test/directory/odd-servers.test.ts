import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { BerReader, BerWriter } from 'ldapts';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { LdapSettings } from '../../activities/settings.ts';
import { READING_LIMITS } from '../../activities/directory/port.ts';
import { ldapDirectory } from '../../activities/directory/ldap.ts';
import { failureKind, failureText } from '../../workflows/model/failures.ts';

/**
 * Some directories, Active Directory among them, send empty pages before the last one (RFC 2696 lets them), take no notice of
 * pages, or fall silent in the middle of a handshake. No server that can be started here does, so this one says just what
 * they say.
 */

const SEQUENCE = 0x30;
const BIND = 0x60;
const SEARCH = 0x63;
const EXTENDED = 0x77;
/** Entries of each page; the last page has no cookie. */
let pages: number[];
let says: 'pages' | 'endless' | 'http' = 'pages';
let server: Server;

beforeAll(async () => {
  server = createServer((socket) => {
    let page = 0;
    socket.on('data', (data) => {
      if (data[0] !== SEQUENCE) return; // TLS.
      const reader = new BerReader(data);
      reader.readSequence();
      const id = reader.readInt() ?? 0;
      if (reader.peek() === BIND) answer(socket, id, 0x61, null);
      if (reader.peek() === EXTENDED) answer(socket, id, 0x78, null); // And no word of TLS behind it.
      if (reader.peek() !== SEARCH) return;
      if (says === 'http') socket.write('HTTP/1.1 400 Bad Request\r\n\r\n');
      if (says === 'endless') endless(socket, id);
      if (says !== 'pages') return;
      for (let i = 0; i < (pages[page] ?? 0); i += 1) entry(socket, id, `user${page}-${i}`);
      page += 1;
      answer(socket, id, 0x65, page < pages.length ? `page ${page}` : '');
    });
    socket.on('error', () => undefined);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterAll(() => void server.close());

function answer(socket: Socket, id: number, operation: number, cookie: string | null): void {
  const writer = new BerWriter();
  writer.startSequence();
  writer.writeInt(id);
  writer.startSequence(operation);
  writer.writeEnumeration(0);
  writer.writeString('');
  writer.writeString('');
  writer.endSequence();
  if (cookie !== null) {
    const value = new BerWriter();
    value.startSequence();
    value.writeInt(0);
    value.writeString(cookie);
    value.endSequence();
    writer.startSequence(0xa0);
    writer.startSequence();
    writer.writeString('1.2.840.113556.1.4.319');
    writer.writeBuffer(value.buffer, 0x04);
    writer.endSequence();
    writer.endSequence();
  }
  writer.endSequence();
  socket.write(writer.buffer);
}

/** Entry upon entry, as fast as they are taken, and never the end of the page. */
function endless(socket: Socket, id: number): void {
  const more = setInterval(() => {
    if (socket.destroyed) clearInterval(more);
    else if (socket.writableLength < 1_000_000) for (let i = 0; i < 100; i += 1) entry(socket, id, 'x'.repeat(10_000));
  }, 1);
}

function entry(socket: Socket, id: number, uid: string): void {
  const writer = new BerWriter();
  writer.startSequence();
  writer.writeInt(id);
  writer.startSequence(0x64);
  writer.writeString(`uid=${uid},dc=example`);
  writer.startSequence();
  writer.startSequence();
  writer.writeString('uid');
  writer.startSequence(0x31);
  writer.writeString(uid);
  writer.endSequence();
  writer.endSequence();
  writer.endSequence();
  writer.endSequence();
  writer.endSequence();
  socket.write(writer.buffer);
}

async function read(tls: 'none' | 'starttls' = 'none'): Promise<string> {
  const settings: LdapSettings = {
    url: `ldap://127.0.0.1:${(server.address() as AddressInfo).port}`,
    tls,
    ca: null,
    bind: { dn: 'cn=tandem', password: 'x' },
    base: 'dc=example',
    filter: '(objectClass=person)',
    attributes: { username: 'uid', entitlement: { name: 'x', value: null }, home: null, credentials: null },
  };
  const directory = ldapDirectory(settings, { ...READING_LIMITS, questionMs: says === 'endless' ? 10_000 : 1000 });
  let users = 0;
  try {
    for await (const page of directory.entitled(new AbortController().signal)) users += page.length;
    return `${users} users`;
  } catch (error) {
    return `${failureKind(error)}: ${failureText(error).replace(/^directory \S+ /, '')}`;
  }
}

it.each([
  ['ends with a page that is not empty', [3, 3, 2], '8 users'],
  ['is empty', [0], '0 users'],
  [
    'has an empty page in the middle',
    [3, 0, 2],
    'directory-incomplete: it ended with an empty page, behind which there may be more',
  ],
  [
    'ends with an empty page',
    [3, 3, 0],
    'directory-incomplete: it ended with an empty page, behind which there may be more',
  ],
  [
    'comes as one page however large',
    [700],
    'directory-incomplete: it gives no pages, and cannot be read within bounds',
  ],
])('an answer that %s', async (_, given, said) => {
  pages = given;
  expect(await read()).toBe(said);
});

it('a server that says yes to encryption, and then nothing, is waited for no longer than for any question', async () => {
  const begun = performance.now();
  expect(await read('starttls')).toMatch(/^directory-unreachable: the connection was cut/);
  expect(performance.now() - begun).toBeLessThan(2500);
});

it.each([
  ['never ends a page', 'endless', 'directory-incomplete: a page of more than 32 MiB'],
  ['speaks another protocol', 'http', 'directory-unreachable: SearchRequest: Operation timed out'],
] as const)('a server that %s fills no memory, and ends no worker', async (_, how, said) => {
  pages = [1];
  says = how;
  try {
    expect(await read()).toBe(said);
  } finally {
    says = 'pages';
  }
  expect(await read()).toBe('1 users');
});
