import type { Cursor } from '../../runbooks/yaml.ts';

/** Addresses as `tandem.yaml` says them. */

export const hostPort = (v: string): boolean => /^[^\s:/]+:\d{1,5}$/.test(v) && Number(v.split(':')[1]) < 65_536;

export const loopback = (host: string): boolean => /^(127\.\d+\.\d+\.\d+|localhost|\[::1\])$/.test(host);

/** Encrypted, unless it never leaves the machine. */
export function endpoint(value: string): boolean {
  if (!URL.canParse(value)) return false;
  const url = new URL(value);
  return url.protocol === 'https:' || (url.protocol === 'http:' && loopback(url.hostname));
}

export const SAFE = 'https is expected; http is allowed on loopback only';

/** A bucket, without the accounts that may use it. */
export function bucketOf(at: Record<'endpoint' | 'region' | 'bucket', Cursor>): {
  endpoint: string;
  region: string;
  bucket: string;
} {
  return {
    endpoint: at.endpoint.text(SAFE, endpoint),
    region: at.region.text('a region is expected, such as us-east-1'),
    bucket: at.bucket.text('a bucket name is expected', (b) => /^[a-z0-9][a-z0-9.-]{2,62}$/.test(b)),
  };
}
