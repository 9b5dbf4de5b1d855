import { createServer, type AddressInfo, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

/** Somebody who stands where the service should be, and would like to be given a password. */
export interface Decoy {
  at: string;
  /** All that clients have said to it. */
  heard: () => string;
  close(): Promise<void>;
}

const features = (what: string): string =>
  `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' id='x'><stream:features>${what}</stream:features>`;
const STARTTLS = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>";
const SASL = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>";

/** With a key and a certificate it offers TLS by them; without, it offers none. */
export async function decoy(tls: { key: string; cert: string } | null): Promise<Decoy> {
  let heard = '';
  const sockets = new Set<Socket>();
  const serve = (socket: Socket, offer: string): void => {
    socket.on('error', () => undefined);
    socket.on('data', (data) => {
      const text = data.toString();
      heard += text;
      if (text.includes('<stream:stream')) socket.write(features(offer));
      if (text.includes('<starttls') && tls) {
        socket.removeAllListeners('data');
        socket.write("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
        serve(new TLSSocket(socket, { isServer: true, ...tls }), SASL);
      }
    });
  };
  const server = createServer((socket) => {
    sockets.add(socket);
    serve(socket, tls ? STARTTLS : SASL);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    at: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    heard: () => heard,
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((done) => server.close(done));
    },
  };
}
