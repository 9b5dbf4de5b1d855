import { pbkdf2Sync } from 'node:crypto';
import type { Client } from '@xmpp/client';

/** What the library's SCRAM knows once the server has challenged it (RFC 5802). */
interface Scram {
  name: string;
  _salt?: Uint8Array;
  _iterationCount?: number;
  response(credentials: { password?: string }): unknown;
}

interface Factory {
  create(offered: string[]): Scram | null;
}

const BYTES = 20;

/**
 * Derives the key of a sign-in in one call. The library asks WebCrypto 4,096 times for it, one after the other, which is
 * most of what a sign-in costs: 0.12 s of a core, and each site's probes sign in a hundred times every five minutes. What
 * is derived is what it takes from a cache of its own: the proof, and the check of the server's, stay the library's.
 */
export function deriveAtOnce(xmpp: Client): void {
  const { saslFactory } = xmpp as unknown as { saslFactory: Factory };
  const create = saslFactory.create.bind(saslFactory);
  saslFactory.create = (offered) => {
    const mechanism = create(offered);
    if (mechanism?.name !== 'SCRAM-SHA-1') return mechanism;
    const respond = mechanism.response.bind(mechanism);
    mechanism.response = (credentials) => {
      const { _salt: salt, _iterationCount: iterations } = mechanism;
      if (!salt || !iterations || credentials.password === undefined) return respond(credentials);
      const saltedPassword = pbkdf2Sync(credentials.password, salt, iterations, BYTES, 'sha1');
      return respond({ ...credentials, salt, saltedPassword } as typeof credentials);
    };
    return mechanism;
  };
}
