/** UTF-8 bytes of a node, a domain or a resource (RFC 6122, section 2). */
const MOST_BYTES = 1023;

/** node@domain/resource, of which only the domain must be there, as ejabberd's own grammar cuts it. */
const PARTS = /^(?:([^\t-\r "&'/:<>@]+)@)?((?:[^\t-\r ./@]+\.)*[^\t-\r ./@]+\.?)(?:\/(.+))?$/su;

/** Mapped to nothing before anything is prohibited (RFC 3454, table B.1). */
const NOTHING = new RegExp(
  String.raw`[\u{AD}\u{34F}\u{1806}\u{180B}-\u{180D}\u{200B}-\u{200D}\u{2060}\u{FE00}-\u{FE0F}\u{FEFF}]`,
  'gv',
);
/** Tables C.1.2 and C.2.2 to C.9: spaces, controls, private use, and what has no place in plain text. */
const PROHIBITED = new RegExp(
  String.raw`[[\p{Zs}--[ ]]\u{80}-\u{9F}\u{6DD}\u{70F}\u{180E}\u{2028}\u{2029}\u{2061}-\u{2063}\u{206A}-\u{206F}\u{FFF9}-\u{FFFD}` +
    String.raw`\u{2FF0}-\u{2FFB}\u{340}\u{341}\u{200E}\u{200F}\u{202A}-\u{202E}\p{Co}\p{Cs}\p{Noncharacter_Code_Point}` +
    String.raw`\u{1D173}-\u{1D17A}\u{E0001}\u{E0020}-\u{E007F}]`,
  'v',
);
const CONTROL = /\p{Cc}/u;
const IN_NODE = /[ "&'/:<>@]/u;

const RIGHT_TO_LEFT = /[\p{L}&&[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}]]/v;
const LEFT_TO_RIGHT = /[\p{L}--[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}]]/v;
const ENDS = new RegExp(`^${RIGHT_TO_LEFT.source}(?:.*${RIGHT_TO_LEFT.source})?$`, 'vs');

/**
 * Whether ejabberd can read an address: its grammar (`jid:decode`), then nodeprep, nameprep and resourceprep (RFC 3454).
 * In doubt the answer is no: what is held back can be let go, what was let through cannot be taken back.
 */
export function isAddress(text: string): boolean {
  const parts = PARTS.exec(text);
  if (!parts) return false;
  const [, node = '', domain = '', resource = ''] = parts;
  const whole = (part: string, prohibited: RegExp | null): boolean => {
    const mapped = part.replaceAll(NOTHING, '').normalize('NFKC');
    const short = Buffer.byteLength(part) <= MOST_BYTES && Buffer.byteLength(mapped) <= MOST_BYTES;
    return short && !PROHIBITED.test(part) && !PROHIBITED.test(mapped) && !prohibited?.test(mapped) && oneWay(mapped);
  };
  const controlled = CONTROL.test(node) || CONTROL.test(resource);
  return !controlled && whole(node, IN_NODE) && whole(domain, null) && whole(resource, null);
}

/** RFC 3454, section 6: text from right to left begins and ends so, and has nothing else in between. */
function oneWay(text: string): boolean {
  return !RIGHT_TO_LEFT.test(text) || (ENDS.test(text) && !LEFT_TO_RIGHT.test(text));
}
