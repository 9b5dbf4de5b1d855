import { createHash, sign, type KeyObject } from 'node:crypto';

/** HTTP Message Signatures (RFC 9421) with Ed25519, and Content-Digest (RFC 9530): as much as requests here need. */

/** What a signature covers: names of fields in small letters, and derived ones such as `@method`, with their values. */
export type Components = readonly (readonly [name: string, value: string])[];

export interface SignatureParameters {
  /** Seconds since 1970. */
  created: number;
  keyid: string;
  /** Left out of the signature when they are not given. */
  alg?: 'ed25519';
  tag?: string;
}

/** The label of the one signature that a request has. */
const LABEL = 'tandem';

/** RFC 9421, 2.3: the value of Signature-Input without its label, which is the last line that is signed. */
export function signatureParameters(components: Components, { created, keyid, alg, tag }: SignatureParameters): string {
  const names = components.map(([name]) => `"${name}"`).join(' ');
  const rest = [alg && `;alg="${alg}"`, tag && `;tag="${tag}"`].filter(Boolean).join('');
  return `(${names});created=${created};keyid="${keyid}"${rest}`;
}

/** RFC 9421, 2.5: the text that is signed. */
export const signatureBase = (components: Components, parameters: string): string =>
  [...components.map(([name, value]) => `"${name}": ${value}`), `"@signature-params": ${parameters}`].join('\n');

/** The two fields of a signed request. */
export function signatureFields(
  components: Components,
  given: SignatureParameters,
  key: KeyObject,
): Record<'signature-input' | 'signature', string> {
  const parameters = signatureParameters(components, given);
  const signature = sign(null, Buffer.from(signatureBase(components, parameters)), key);
  return {
    'signature-input': `${LABEL}=${parameters}`,
    signature: `${LABEL}=:${signature.toString('base64')}:`,
  };
}

export const contentDigest = (body: Uint8Array): string =>
  `sha-256=:${createHash('sha256').update(body).digest('base64')}:`;
