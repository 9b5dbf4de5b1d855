import { generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto';

/** Certificates for tests, made here: as much of X.509 (RFC 5280) in DER as a server on loopback needs. */

export interface Authority {
  name: string;
  key: KeyObject;
  /** PEM. */
  certificate: string;
}

const tlv = (tag: number, ...parts: Uint8Array[]): Buffer => {
  const body = Buffer.concat(parts);
  const { length } = body;
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.from([tag, ...size]), body]);
};
const sequence = (...parts: Uint8Array[]): Buffer => tlv(0x30, ...parts);
const oid = (hex: string): Buffer => tlv(0x06, Buffer.from(hex, 'hex'));
const TRUE = tlv(0x01, Buffer.from([255]));
const ecdsaWithSha256 = sequence(oid('2a8648ce3d040302'));
const named = (name: string): Buffer => sequence(tlv(0x31, sequence(oid('550403'), tlv(0x0c, Buffer.from(name)))));
const time = (at: number): Buffer =>
  tlv(0x17, Buffer.from(`${new Date(at).toISOString().slice(2, 19).replaceAll(/[-:T]/g, '')}Z`));
const pem = (der: Buffer): string =>
  `-----BEGIN CERTIFICATE-----\n${der.toString('base64').replaceAll(/(.{64})/g, '$1\n')}\n-----END CERTIFICATE-----\n`;

const DAY = 86_400_000;

function certificate(
  subject: string,
  key: KeyObject,
  by: { name: string; key: KeyObject },
  extension: Buffer,
  until = Date.now() + DAY,
): string {
  const tbs = sequence(
    tlv(0xa0, tlv(0x02, Buffer.from([2]))),
    tlv(0x02, Buffer.from([1]), randomBytes(8)),
    ecdsaWithSha256,
    named(by.name),
    sequence(time(Math.min(Date.now(), until) - DAY), time(until)),
    named(subject),
    key.export({ type: 'spki', format: 'der' }),
    tlv(0xa3, sequence(extension)),
  );
  const signature = tlv(0x03, Buffer.from([0]), sign('sha256', tbs, by.key));
  return pem(sequence(tbs, ecdsaWithSha256, signature));
}

export function newAuthority(name: string): Authority {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const isAuthority = sequence(oid('551d13'), TRUE, tlv(0x04, sequence(TRUE)));
  return { name, key: privateKey, certificate: certificate(name, publicKey, { name, key: privateKey }, isAuthority) };
}

/** A server's key and certificate, for 127.0.0.1 or for a name; both PEM. It ends at `until`, a day from now by default. */
export function newServer(by: Authority, host?: string, until?: number): { key: string; cert: string } {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const name = host === undefined ? tlv(0x87, Buffer.from([127, 0, 0, 1])) : tlv(0x82, Buffer.from(host));
  const forName = sequence(oid('551d11'), tlv(0x04, sequence(name)));
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    cert: certificate(host ?? 'server', publicKey, by, forName, until),
  };
}
