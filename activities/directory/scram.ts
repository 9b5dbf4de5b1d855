/** Keys of SCRAM-SHA-1 (RFC 5802), in base64, as ejabberd's table `users` has them: whoever has them knows no password. */
export interface ScramKeys {
  storedKey: string;
  serverKey: string;
  salt: string;
  iterations: number;
}

/** SHA-1. */
const KEY_BYTES = 20;
const MOST_SALT_BYTES = 128;
/** RFC 5802 asks for so many at the least; the most is what a sign-in can still bear. */
const LEAST_ITERATIONS = 4096;
const MOST_ITERATIONS = 10_000_000;

/** authPassword (RFC 3112) of scheme SCRAM-SHA-1, as RFC 5803 writes it. */
const AUTH_PASSWORD =
  /^ *SCRAM-SHA-1 *\$ *(\d{1,9}) *: *([A-Za-z0-9+/=]+) *\$ *([A-Za-z0-9+/=]+) *: *([A-Za-z0-9+/=]+) *$/i;

/**
 * The keys that an attribute holds; null when it holds none of this scheme that can be used, or two that differ: nobody
 * could say which is his.
 */
export function scramKeys(values: readonly string[]): ScramKeys | null {
  const found = values.flatMap((value) => {
    const keys = parse(value);
    return keys ? [keys] : [];
  });
  const [first] = found;
  return first && found.every((keys) => scramText(keys) === scramText(first)) ? first : null;
}

function parse(value: string): ScramKeys | null {
  const [, count = '', salt = '', storedKey = '', serverKey = ''] = AUTH_PASSWORD.exec(value) ?? [];
  const iterations = Number(count);
  if (iterations < LEAST_ITERATIONS || iterations > MOST_ITERATIONS) return null;
  const saltBytes = bytesOf(salt);
  if (saltBytes < 1 || saltBytes > MOST_SALT_BYTES) return null;
  if (bytesOf(storedKey) !== KEY_BYTES || bytesOf(serverKey) !== KEY_BYTES) return null;
  return { storedKey, serverKey, salt, iterations };
}

/** How many bytes a base64 text stands for; -1 when it is none, or not as it is written by whoever wrote it. */
function bytesOf(text: string): number {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes.length : -1;
}

/** As the directory holds them. */
export const scramText = ({ storedKey, serverKey, salt, iterations }: ScramKeys): string =>
  `SCRAM-SHA-1$${iterations}:${salt}$${storedKey}:${serverKey}`;
