import { createHmac } from 'node:crypto';
import { createServer, connect, type AddressInfo, type Socket } from 'node:net';
import type { TsigKey } from '../../activities/settings.ts';
import { decodeReply, encodeName } from '../../activities/traffic/dns-message.ts';

/** Somebody between Tandem and a name server: sees each message of DNS over TCP whole, and may hold or change it. */

export interface Relay {
  /** `host:port`. */
  address: string;
  /** What comes from the name server, in order. */
  replies: Buffer[];
  /** May wait, and sees the request's opcode: 0 for a question, 5 for an update. */
  onRequest: (opcode: number) => Promise<void>;
  onReply: (reply: Buffer, request: Buffer) => Buffer;
  close(): void;
}

export async function relayTo(port: number): Promise<Relay> {
  const sockets = new Set<Socket>();
  const relay: Relay = {
    address: '',
    replies: [],
    onRequest: () => Promise.resolve(),
    onReply: (reply) => reply,
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
  const server = createServer((client) => {
    const behind = connect(port, '127.0.0.1');
    for (const socket of [client, behind]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
    }
    client.on('close', () => behind.destroy());
    let asked: Buffer = Buffer.alloc(0);
    messages(client, (request) => {
      asked = request;
      void relay.onRequest((request.readUInt8(2) >> 3) & 15).then(() => behind.write(framed(request)));
    });
    messages(behind, (reply) => {
      relay.replies.push(reply);
      client.write(framed(relay.onReply(reply, asked)));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  relay.address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return relay;
}

/** A reply that was changed, signed again by somebody who has the key: a server that answers just that. */
export function signedAgain(reply: Buffer, request: Buffer, { name, secret }: TsigKey): Buffer {
  const { lastAt } = decodeReply(reply);
  const message = Buffer.from(reply.subarray(0, lastAt));
  message.writeUInt16BE(message.readUInt16BE(10) - 1, 10);
  const macOf = (bytes: Buffer): Buffer => bytes.subarray(bytes.length - 6 - 32, bytes.length - 6);
  // Behind the name, type, class, ttl and length of the record: algorithm, time and fudge, then the signature.
  const algorithm = encodeName('hmac-sha256');
  const at = lastAt + encodeName(name).length + 10 + algorithm.length;
  const variables = [encodeName(name), Buffer.from([0, 255, 0, 0, 0, 0]), algorithm, reply.subarray(at, at + 8)];
  const hmac = createHmac('sha256', secret)
    .update(Buffer.from([0, 32]))
    .update(macOf(request))
    .update(message);
  macOf(reply).set(hmac.update(Buffer.concat(variables)).update(Buffer.alloc(4)).digest());
  return reply;
}

function messages(socket: Socket, take: (message: Buffer) => void): void {
  let heard = Buffer.alloc(0);
  socket.on('data', (piece: Buffer) => {
    heard = Buffer.concat([heard, piece]);
    while (heard.length >= 2 && heard.length >= 2 + heard.readUInt16BE(0)) {
      const end = 2 + heard.readUInt16BE(0);
      take(Buffer.from(heard.subarray(2, end)));
      heard = heard.subarray(end);
    }
  });
}

function framed(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}
