import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { Blow, Tripwire } from './tripwire.ts';

/** Answers of the server after which it has done what it was asked: ready, asks for a copy, asks who is there. */
const DONE = ['Z', 'G', 'R'];

/**
 * Stands between a client and a real PostgreSQL on loopback, on connections without TLS, and counts what the client asks:
 * each connection, each simple query, each sync of an extended one, and each end of a copy. All else passes as it came.
 *
 * A process that is struck before its call has sent everything in front of it: of an extended query, all but the sync that
 * commits it. The server does what it was sent, and then finds the connection closed.
 */
export class PostgresProxy {
  private readonly server: Server;
  private readonly sockets = new Set<Socket>();

  private constructor(server: Server, upstream: { host: string; port: number }, wire: Tripwire) {
    this.server = server;
    server.on('connection', (client) => {
      const onward = connect({ ...upstream, noDelay: true }); // Or each message in pieces waits 40 ms for an acknowledgement.
      for (const socket of [client, onward]) {
        this.sockets.add(socket);
        socket.on('error', () => undefined); // Its close follows, and is heard.
        socket.once('close', () => this.sockets.delete(socket));
      }
      serve(client, onward, wire);
    });
  }

  static async open(upstream: string, wire: Tripwire): Promise<PostgresProxy> {
    const { hostname: host, port } = new URL(upstream);
    const server = createServer({ noDelay: true });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    return new PostgresProxy(server, { host, port: Number(port) }, wire);
  }

  /** The address of a database, by way of this proxy. */
  through(url: string): string {
    const { port } = this.server.address() as AddressInfo;
    return Object.assign(new URL(url), { host: `127.0.0.1:${port}` }).toString();
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((done) => this.server.close(done));
  }
}

function serve(client: Socket, server: Socket, wire: Tripwire): void {
  let asked: Buffer = Buffer.alloc(0);
  let answered: Buffer = Buffer.alloc(0);
  let started = false;
  let sql = '';
  let blow: Blow | null = null;
  let struck = false;
  const strike = (): void => {
    if (!struck) blow?.strike();
    struck = true;
  };

  /** What a message asks for; null when it is only a part of what does. */
  const callOf = (message: Buffer): string | null => {
    if (!started) {
      started = true;
      return 'connect';
    }
    const type = String.fromCharCode(message.readUInt8());
    if (type === 'Q') return textAt(message, 5);
    if (type === 'P') sql = textAt(message, message.indexOf(0, 5) + 1);
    if (type === 'S') return sql;
    return type === 'c' ? 'end of copy' : null;
  };

  client.on('data', (chunk) => {
    asked = Buffer.concat([asked, chunk]);
    for (let end = messageEnd(asked, started); end > 0; end = messageEnd(asked, started)) {
      const message = asked.subarray(0, end);
      asked = asked.subarray(end);
      if (blow) return;
      const call = callOf(message);
      blow = call === null ? null : wire.next(call);
      if (blow?.when === 'before') strike();
      else server.write(message);
    }
  });
  server.on('data', (chunk) => {
    if (blow?.when === 'amid' && !struck) {
      if (client.writable) client.write(chunk.subarray(0, chunk.length >> 1), strike);
    } else if (blow) {
      answered = Buffer.concat([answered, chunk]);
      for (let end = messageEnd(answered, true); end > 0; end = messageEnd(answered, true)) {
        if (blow.when === 'after' && DONE.includes(String.fromCharCode(answered.readUInt8()))) strike();
        answered = answered.subarray(end);
      }
    } else if (client.writable) client.write(chunk);
  });
  client.on('close', () => server.end());
  server.on('close', () => {
    if (blow) strike();
    client.destroy();
  });
}

/** Where the first message ends; 0 while it is not whole. Only the very first one of a client has no type. */
function messageEnd(bytes: Buffer, typed: boolean): number {
  const head = typed ? 1 : 0;
  if (bytes.length < head + 4) return 0;
  const end = head + bytes.readUInt32BE(head);
  return end <= bytes.length ? end : 0;
}

const textAt = (message: Buffer, at: number): string =>
  message
    .toString('utf8', at, Math.max(at, message.indexOf(0, at)))
    .replaceAll(/\s+/g, ' ')
    .slice(0, 60);
