/** Rules of addresses that several parts of `tandem.yaml` share. */

export const hostPort = (v: string): boolean => /^[^\s:/]+:\d{1,5}$/.test(v) && Number(v.split(':')[1]) < 65_536;

export const loopback = (host: string): boolean => /^(127\.\d+\.\d+\.\d+|localhost|\[::1\])$/.test(host);

/** Encrypted, unless it never leaves the machine. */
export function endpoint(value: string): boolean {
  if (!URL.canParse(value)) return false;
  const url = new URL(value);
  return url.protocol === 'https:' || (url.protocol === 'http:' && loopback(url.hostname));
}
