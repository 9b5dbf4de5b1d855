import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';

/** ASN.1 in DER: a tag, a length, what is in it. */
function der(tag: number, ...parts: Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  const n = body.length;
  const length = n < 128 ? [n] : n < 256 ? [0x81, n] : [0x82, n >> 8, n & 255];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}

const SEQUENCE = 0x30;
const oid = (hex: string): Buffer => der(0x06, Buffer.from(hex, 'hex'));
const utcTime = (ms: number): Buffer =>
  der(0x17, Buffer.from(`${new Date(ms).toISOString().slice(2, 19).replaceAll(/[-T:]/g, '')}Z`));
const bits = (bytes: Uint8Array): Buffer => der(0x03, Buffer.of(0), bytes);
const extension = (id: string, value: Uint8Array): Buffer => der(SEQUENCE, oid(id), der(0x04, value));

/** A certificate for 127.0.0.1 that signs itself (RFC 5280, ECDSA with P-256), and its key, as PEM. */
export function selfSigned(): { key: string; cert: string } {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const algorithm = der(SEQUENCE, oid('2a8648ce3d040302'));
  const name = der(SEQUENCE, der(0x31, der(SEQUENCE, oid('550403'), der(0x0c, Buffer.from('127.0.0.1')))));
  const day = 86_400_000;
  const certificate = der(
    SEQUENCE,
    der(0xa0, der(0x02, Buffer.of(2))),
    der(0x02, Buffer.of(1), randomBytes(8)),
    algorithm,
    name,
    der(SEQUENCE, utcTime(Date.now() - day), utcTime(Date.now() + day)),
    name,
    publicKey.export({ format: 'der', type: 'spki' }),
    der(
      0xa3,
      der(
        SEQUENCE,
        extension('551d13', der(SEQUENCE, der(0x01, Buffer.of(255)))), // An authority: it vouches for itself.
        extension('551d11', der(SEQUENCE, der(0x87, Buffer.of(127, 0, 0, 1)))),
      ),
    ),
  );
  const whole = der(SEQUENCE, certificate, algorithm, bits(sign('sha256', certificate, privateKey)));
  const lines = whole.toString('base64').replaceAll(/(.{64})/g, '$1\n');
  return {
    key: privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
    cert: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`,
  };
}
