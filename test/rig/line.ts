import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** `dropped`: all stays open, and nobody hears a word. `refused`: nobody listens, and what was open is reset. */
export type Manner = 'dropped' | 'refused';

/**
 * A line to a server, on loopback, that can be cut. What was sent while it was dropped is not lost: it lands once the line is whole
 * again, as TCP has it, however long ago its sender has given up.
 */
export class Line {
  readonly port: number;
  private readonly upstream: { host: string; port: number };
  private readonly server: Server;
  private readonly sockets = new Set<Socket>();
  private waiting: Socket[] = [];
  private cutBy: Manner | null = null;

  private constructor(server: Server, upstream: { host: string; port: number }) {
    this.server = server;
    this.upstream = upstream;
    this.port = (server.address() as AddressInfo).port;
    server.on('connection', (client) => this.accept(client));
  }

  static async to(upstream: { host: string; port: number }): Promise<Line> {
    const server = createServer({ noDelay: true, pauseOnConnect: true });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    return new Line(server, upstream);
  }

  async cut(manner: Manner): Promise<void> {
    if (this.cutBy !== null) await this.heal();
    this.cutBy = manner;
    if (manner === 'refused') return this.hangUp();
    for (const socket of this.sockets) socket.pause();
  }

  async heal(): Promise<void> {
    const { cutBy } = this;
    this.cutBy = null;
    if (cutBy === 'refused') await new Promise<void>((done) => this.server.listen(this.port, '127.0.0.1', done));
    for (const socket of this.sockets) socket.resume();
    for (const client of this.waiting.splice(0)) this.lead(client);
  }

  async close(): Promise<void> {
    if (this.cutBy !== 'refused') await this.hangUp();
  }

  private async hangUp(): Promise<void> {
    const closed = new Promise((done) => this.server.close(done));
    for (const socket of [...this.sockets, ...this.waiting.splice(0)]) socket.resetAndDestroy();
    await closed;
  }

  private accept(client: Socket): void {
    client.on('error', () => undefined);
    if (this.cutBy === null) this.lead(client);
    else this.waiting.push(client);
  }

  private lead(client: Socket): void {
    const server = connect({ ...this.upstream, noDelay: true });
    server.on('error', () => undefined);
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      this.sockets.add(from);
      from.on('data', (bytes) => to.writable && to.write(bytes));
      from.once('end', () => to.end());
      from.once('close', (failed) => {
        this.sockets.delete(from);
        if (failed) to.destroy();
      });
    }
    client.resume();
  }
}
