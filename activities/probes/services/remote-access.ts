import { isIPv6 } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Facts } from './port.ts';
import type { ProbeRun } from './run.ts';

const DAY = 24 * 3_600_000;

/**
 * A user on the Internet signs in at the address that he is given, over TLS that the server's certificate for the domain
 * proves; without TLS he gives no password. Where the DNS gives the address, each that it gives must be one at which the
 * service is: a record that leads to a site that is lost is a fault, although clients try the next one in the end.
 */
export async function remoteAccess(run: ProbeRun): Promise<Facts> {
  const led = await run.ledTo('client');
  const first = led.find(({ direct }) => !direct);
  const at = first && {
    service: `xmpp://${isIPv6(first.address) ? `[${first.address}]` : first.address}:${first.port}`,
  };
  const session = await run.signIn('account 1', run.order.accounts.first, at);
  const { socket } = session.xmpp.socket as unknown as { socket: TLSSocket };
  const expires = Date.parse(socket.getPeerCertificate().valid_to);
  return { certificateDaysLeft: Math.floor((expires - Date.now()) / DAY), addresses: Math.max(1, led.length) };
}
