import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';

/** The kernel may name one twice before anybody listens there. */
const given = new Set<number>();

/** A port of loopback that nobody listens on, now, and that this process was not given before. */
export async function freePort(): Promise<number> {
  for (;;) {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, 'close');
    if (given.has(port)) continue;
    given.add(port);
    return port;
  }
}
