import type { TLSSocket } from 'node:tls';
import type { Facts } from './port.ts';
import type { ProbeRun } from './run.ts';

const DAY = 24 * 3_600_000;

/**
 * A user on the Internet signs in at the address that he is given, over TLS that the server's certificate for the domain
 * proves; without TLS he gives no password.
 */
export async function remoteAccess(run: ProbeRun): Promise<Facts> {
  const session = await run.signIn('account 1', run.order.accounts.first);
  const { socket } = session.xmpp.socket as unknown as { socket: TLSSocket };
  const expires = Date.parse(socket.getPeerCertificate().valid_to);
  return { certificateDaysLeft: Math.floor((expires - Date.now()) / DAY) };
}
