import { hashes, verify } from '@noble/ed25519';
import { sha512 } from '@noble/hashes/sha2.js';
import { hexToBytes } from '@noble/hashes/utils.js';

// The workflow sandbox has no crypto; this implementation is synchronous, so that it works inside an update's validator.
hashes.sha512 = sha512;

/** Whether an Ed25519 signature (RFC 8032, strictly) over `message` holds under a raw key in hex. Throws at what is none. */
export const holdsUnder = (key: string, message: Uint8Array, signature: Uint8Array): boolean =>
  verify(signature, message, hexToBytes(key), { zip215: false });
