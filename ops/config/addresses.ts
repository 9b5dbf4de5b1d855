/** Forms of addresses in `tandem.yaml`. */

export const hostPort = (v: string): boolean => /^[^\s:/]+:\d{1,5}$/.test(v) && Number(v.split(':')[1]) < 65_536;

const loopback = (host: string): boolean => /^(127\.\d+\.\d+\.\d+|localhost|\[::1\])$/.test(host);

/** Secrets and epochs go over TLS only; what stays on this machine needs none. */
export function endpoint(value: string): boolean {
  if (!URL.canParse(value)) return false;
  const url = new URL(value);
  return url.protocol === 'https:' || (url.protocol === 'http:' && loopback(url.hostname));
}
