import { domainToASCII } from 'node:url';
import { isScalar } from 'yaml';
import {
  defaultExtensions,
  defaultFilter,
  fileModes,
  urlModes,
  type FilterPolicy,
} from '../../activities/filter/policy.ts';
import type { Cursor } from '../../runbooks/yaml.ts';

/** `customers.CUSTOMER.filter`: what its users may send each other, the same at both sites. What is left out is the default. */

/** Every message is held against them; more are a mistake. */
const MOST_EXTENSIONS = 1000;
const MOST_DOMAINS = 500;
/** The word for all extensions of the default list, within a list of one's own. */
const DEFAULTS = 'default';

/** Domains of one label that the Internet does not have, and customers do. All others have somebody else's hosts below them. */
const PRIVATE = new Set(['corp', 'home', 'internal', 'intranet', 'lan', 'local', 'localdomain', 'private']);

export function filterOf(at: Cursor): FilterPolicy {
  if (!at.present) return defaultFilter;
  const f = at.fields(['urls', 'files', 'extensions', 'intranet']);
  const urls = f.urls.present ? f.urls.oneOf(urlModes) : defaultFilter.urls;
  const files = f.files.present ? f.files.oneOf(fileModes) : defaultFilter.files;
  const extensions = f.extensions.present ? extensionsOf(f.extensions) : defaultExtensions;
  const intranet = f.intranet.present ? f.intranet.items().map(domainOf) : [];
  if (intranet.length > MOST_DOMAINS)
    f.intranet.fault(`${intranet.length} domains; at most ${MOST_DOMAINS} are allowed`);
  if (files === 'block-listed-extensions' && extensions.length === 0)
    f.extensions.fault('an empty list blocks nothing; `files: allow-all` says so');
  return { urls, files, extensions: [...new Set(extensions)], intranet: [...new Set(intranet)] };
}

function extensionsOf(at: Cursor): string[] {
  const found = at.items().flatMap(extensionOf);
  if (found.length > MOST_EXTENSIONS) at.fault(`${found.length} extensions; at most ${MOST_EXTENSIONS} are allowed`);
  return found;
}

function extensionOf(item: Cursor): readonly string[] {
  const value = isScalar(item.node) ? item.node.value : null;
  if (value === DEFAULTS) return defaultExtensions;
  // In YAML these two are numbers.
  if (value === Infinity) return ['inf'];
  if (Number.isNaN(value)) return ['nan'];
  const text = item.text(`an extension such as .exe is expected, or ${DEFAULTS} for those of the default list`, (v) =>
    /^\.[A-Za-z0-9_-]{1,16}$/.test(v),
  );
  return text === '' ? [] : [text.slice(1).toLowerCase()];
}

/** As name servers have it: `münchen.example` is `xn--mnchen-3ya.example`. */
function domainOf(item: Cursor): string {
  const text = item.text('a domain such as contoso.example is expected: its hosts are those of the intranet', isDomain);
  return domainToASCII(text);
}

function isDomain(text: string): boolean {
  const ascii = domainToASCII(text);
  if (!/^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/.test(ascii)) return false;
  if (ascii.length > 253) return false;
  // A number is a host by itself; domainToASCII writes all forms of one in four parts.
  const numeric = /(^|\.)(\d+|0x[0-9a-f]*)$/.test(ascii);
  if (numeric) return /^\d+(\.\d+){3}$/.test(ascii) && ascii === text;
  return ascii.includes('.') || PRIVATE.has(ascii);
}
