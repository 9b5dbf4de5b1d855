import { createHash, sign, verify, type KeyObject } from 'node:crypto';
import { failure } from '../../workflows/model/failures.ts';
import { canonicalJson } from '../../workflows/model/plan.ts';

/** A document as it lies in a vault: its canonical JSON is what the site's Ed25519 key has signed (VAULT, rule 4). */
export interface Signed<T> {
  document: T;
  site: string;
  /** Over `<purpose>\n<site>\n<canonical JSON>`, base64. */
  signature: string;
}

/** Keeps a signature for one kind of document from being taken for another's. */
export type Purpose =
  | 'beat'
  | 'manifest'
  | 'receipt'
  | 'epoch'
  | 'report'
  | 'journal'
  | 'ledger'
  | 'test-receipt'
  | 'acceptance'
  | 'salvage'
  | 'check'
  | 'customer';

function signedBytes(purpose: Purpose, site: string, document: unknown): Buffer {
  return Buffer.from(`tandem/1 ${purpose}\n${site}\n${canonicalJson(document)}`);
}

export function seal(purpose: Purpose, site: string, key: KeyObject, document: unknown): Buffer {
  const signature = sign(null, signedBytes(purpose, site, document), key).toString('base64');
  return Buffer.from(canonicalJson({ document, site, signature } satisfies Signed<unknown>));
}

/** The document of sealed bytes when a known site has signed it, else a failure `signature-invalid` that names `where`. */
export function unseal<T>(
  purpose: Purpose,
  publicKeys: ReadonlyMap<string, KeyObject>,
  bytes: Buffer,
  where: string,
): Signed<T> {
  let sealed: Signed<T> | null;
  try {
    sealed = JSON.parse(bytes.toString('utf8')) as Signed<T>;
  } catch {
    throw failure('signature-invalid', `${where}: not JSON, ${bytes.length} bytes`);
  }
  if (typeof sealed?.site !== 'string' || typeof sealed.signature !== 'string') {
    throw failure('signature-invalid', `${where}: not a signed document`);
  }
  const key = publicKeys.get(sealed.site);
  if (!key)
    throw failure(
      'signature-invalid',
      `${where}: signed by ${JSON.stringify(sealed.site)}, which no configuration names`,
    );
  const signature = Buffer.from(sealed.signature, 'base64');
  if (!verify(null, signedBytes(purpose, sealed.site, sealed.document), key, signature)) {
    throw failure('signature-invalid', `${where}: the signature of ${sealed.site} does not hold`);
  }
  return sealed;
}

/** The oldest version whose signature holds (VAULT, rule 5); null when no version was ever written. */
export function oldestValid<T>(
  purpose: Purpose,
  publicKeys: ReadonlyMap<string, KeyObject>,
  versions: Buffer[],
  where: string,
): Signed<T> | null {
  let newestFault: Error | null = null;
  for (const bytes of versions) {
    try {
      return unseal<T>(purpose, publicKeys, bytes, where);
    } catch (error) {
      newestFault = error instanceof Error ? error : new Error(String(error));
    }
  }
  if (newestFault) throw newestFault;
  return null;
}

export function sha256(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}
