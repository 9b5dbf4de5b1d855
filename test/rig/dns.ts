import { createSocket } from 'node:dgram';
import { once } from 'node:events';

/** A DNS for tests, on loopback: it knows what it was told, and that there is nothing else. */

/** By name: an IPv4 address, or the host and port of a service. */
export type Zone = Record<string, string | { host: string; port: number }>;

const A = 1;
const SRV = 33;

export async function openDns(zone: Zone): Promise<{ port: number; close(): Promise<void> }> {
  const socket = createSocket('udp4');
  socket.on('message', (query, from) => {
    const answer = answerTo(query, zone);
    if (answer) socket.send(answer, from.port, from.address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return { port: socket.address().port, close: () => new Promise((done) => socket.close(() => done())) };
}

/** RFC 1035, 4.1; one question. */
function answerTo(query: Buffer, zone: Zone): Buffer | null {
  const labels: string[] = [];
  let at = 12;
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  const type = query.readUInt16BE(at + 1);
  const question = query.subarray(12, at + 5);
  const known = zone[labels.join('.').toLowerCase()];
  const data = known === undefined ? null : dataOf(known, type);
  const header = Buffer.alloc(12);
  query.copy(header, 0, 0, 2);
  header.writeUInt16BE(0x8580 | (known === undefined ? 3 : 0), 2); // An answer, of authority; 3: no such name.
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(data ? 1 : 0, 6);
  if (!data) return Buffer.concat([header, question]);
  const record = Buffer.alloc(12);
  record.writeUInt16BE(0xc00c, 0); // The name of the question.
  record.writeUInt16BE(type, 2);
  record.writeUInt16BE(1, 4);
  record.writeUInt32BE(1, 6); // Seconds to be kept.
  record.writeUInt16BE(data.length, 10);
  return Buffer.concat([header, question, record, data]);
}

function dataOf(known: Zone[string], type: number): Buffer | null {
  if (typeof known === 'string') return type === A ? Buffer.from(known.split('.').map(Number)) : null;
  if (type !== SRV) return null;
  const fixed = Buffer.alloc(6);
  fixed.writeUInt16BE(known.port, 4);
  const host = known.host.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
  return Buffer.concat([fixed, ...host, Buffer.from([0])]);
}
