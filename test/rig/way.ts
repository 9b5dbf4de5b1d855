import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A way to a server, on loopback, that may become slow or carry nothing any more: then all stays open, and nobody hears a word. */
export interface Way {
  port: number;
  /** Of whatever passes, in each direction. */
  delayMs: number;
  silent: boolean;
  close(): Promise<void>;
}

async function inTurn(before: Promise<void>, due: number, work: () => unknown): Promise<void> {
  await before;
  if (due > Date.now()) await new Promise((done) => setTimeout(done, due - Date.now()));
  work();
}

export async function wayTo(host: string, port: number): Promise<Way> {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const onward = connect(port, host);
    for (const socket of [client, onward]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.once('close', () => sockets.delete(socket));
    }
    carry(client, onward);
    carry(onward, client);
  });
  /** In its order, however the delay changes. */
  function carry(from: Socket, to: Socket): void {
    let before = Promise.resolve();
    const later = (work: () => unknown): void => {
      const due = Date.now() + way.delayMs;
      before = inTurn(before, due, () => way.silent || work());
    };
    from.on('data', (data) => later(() => void to.write(data)));
    from.once('close', () => later(() => to.destroy()));
  }
  const way: Way = {
    port: 0,
    delayMs: 0,
    silent: false,
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((done) => server.close(done));
    },
  };
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  way.port = (server.address() as AddressInfo).port;
  return way;
}
