import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { BerReader, BerWriter } from 'ldapts';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ldapDirectory } from '../../activities/directory/ldap.ts';
import { failureKind, failureText } from '../../workflows/model/failures.ts';

/**
 * Some directories, Active Directory among them, send empty pages before the last one (RFC 2696 lets them), or take no notice
 * of pages. No server that can be started here does, so this one says just what they say.
 */

const BIND = 0x60;
const SEARCH = 0x63;
/** Entries of each page; the last page has no cookie. */
let pages: number[];
let server: Server;

beforeAll(async () => {
  server = createServer((socket) => {
    let page = 0;
    socket.on('data', (data) => {
      const reader = new BerReader(data);
      reader.readSequence();
      const id = reader.readInt() ?? 0;
      if (reader.peek() === BIND) answer(socket, id, 0x61, null);
      if (reader.peek() !== SEARCH) return;
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

async function read(): Promise<string> {
  const directory = ldapDirectory({
    url: `ldap://127.0.0.1:${(server.address() as AddressInfo).port}`,
    tls: 'none',
    ca: null,
    bind: { dn: 'cn=tandem', password: 'x' },
    base: 'dc=example',
    filter: '(objectClass=person)',
    attributes: { username: 'uid', entitlement: { name: 'x', value: null }, home: null, credentials: null },
  });
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
