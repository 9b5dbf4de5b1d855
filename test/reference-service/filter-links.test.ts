import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { urlModes } from '../../activities/filter/policy.ts';
import { findEjabberd } from '../../ops/reference-service/ejabberd/installed.ts';
import { all, ask, listed, message, says, table, type Verdict } from './rules.ts';

/** The message filter and links: which it sees, which it refuses, and what it makes of the others. */

/** Verdicts in the order of `urlModes`. */
const P = 'pass';
const R = 'refuse: link';
const T = 'as text';
const links: Record<string, Verdict[]> = {
  'http://example.com/a': [P, R, R, R, T, P],
  'see HTTPS://EXAMPLE.COM, please': [P, R, R, R, T, P],
  'www.example.com': [P, R, R, R, T, P],
  'ftp.example.com/a': [P, R, R, R, T, P],
  'example.com/a': [P, R, R, R, T, P],
  'mailto:bob@example.com': [P, R, R, R, T, P],
  'mailto:bob@contoso.example': [P, P, P, R, T, P],
  'http://wiki/a': [P, P, P, R, T, P],
  'http://a.contoso.example:8080/': [P, P, P, R, T, P],
  'http://contoso.example': [P, P, P, R, T, P],
  'http://bücher.example/': [P, P, P, R, T, P],
  'http://10.1.2.3/': [P, P, P, R, T, P],
  '\\\\server\\share\\a.txt': [P, P, P, R, T, P],
  // Others than those that are named, or written so that it is not plain whose they are.
  'http://evilcontoso.example/': [P, R, R, R, T, P],
  'http://contoso.example.evil.net/': [P, R, R, R, T, P],
  'http://2130706433/': [P, R, R, R, T, P],
  'http://0x7f000001/': [P, R, R, R, T, P],
  'http://10.1.2.4/': [P, R, R, R, T, P],
  'http://wiki@evil.net/': [P, R, R, R, T, P],
  'http://wiki\\@evil.net/': [P, R, R, R, T, P],
  'http://wiki%2eevil.net/': [P, R, R, R, T, P],
  'http://wiki/?to=http://evil.net/': [P, R, R, R, T, P],
  'http:\\\\evil.net/': [P, R, R, R, T, P],
  'http:/evil.net/': [P, R, R, R, T, P],
  'ｈｔｔｐ：／／evil.net/': [P, R, R, R, T, P],
  'ht\u200Btp://evil.net/': [P, R, R, R, T, P],
  // With a listed extension.
  'http://wiki/setup.exe': [P, P, R, R, R, R],
  'http://example.com/setup.exe': [P, R, R, R, R, R],
  'http://example.com/setup.EXE.': [P, R, R, R, R, R],
  'http://example.com/setup.exe?x': [P, R, R, R, R, R],
  'http://example.com/setup.exe#x': [P, R, R, R, R, R],
  'http://example.com/setup.exe;x=1': [P, R, R, R, R, R],
  'http://example.com/photo.jpg.exe': [P, R, R, R, R, R],
  'http://example.com/setup%2Eexe': [P, R, R, R, R, R],
  'http://example.com/setup.%65x%65': [P, R, R, R, R, R],
  'http://example.com/setup%252Eexe': [P, R, R, R, R, R],
  'http://example.com/setup.exe%20': [P, R, R, R, R, R],
  'http://example.com/setup.exe%00.txt': [P, R, R, R, R, R],
  'http://example.com/setup.exe::$DATA': [P, R, R, R, R, R],
  'http://example.com/setup．exe': [P, R, R, R, R, R],
  'http://example.com/setup。exe': [P, R, R, R, R, R],
  'http://example.com/setup.e\u200Dxe': [P, R, R, R, R, R],
  'http://example.com/\u202Etxt.exe': [P, R, R, R, R, R],
  'http://example.com/setup.exe”': [P, R, R, R, R, R],
  '(http://example.com/setup.exe)': [P, R, R, R, R, R],
  'http://example.com/get?file=setup.exe': [P, R, R, R, R, R],
  'http://example.com/http://run.com': [P, R, R, R, R, R],
  'javascript:alert(1)': [P, R, R, R, R, R],
  'http://example.com/%2525252525252541': [P, R, R, R, R, R],
  // The end of a host is no extension, nor is what stands before the last one.
  'https://example.com': [P, R, R, R, T, P],
  'https://example.com/a?to=https://example.com': [P, R, R, R, T, P],
  'https://example.com/a?by=bob@example.com': [P, R, R, R, T, P],
  'http://example.com/setup.exe.txt': [P, R, R, R, T, P],
  // No links.
  'setup.exe': [P, P, P, P, P, P],
  'and/or, e.g. 1.5/2.0 at 10:30; std::string, Re:hello :/ //': [P, P, P, P, P, P],
  'bob@example.com': [P, P, P, P, P, P],
  '': [P, P, P, P, P, P],
};

// Erlang and ejabberd's libraries are not on every machine: root on Debian gets them by `npm test` itself, and CI is that.
describe.skipIf(findEjabberd() === null)('links', () => {
  it.each(urlModes.map((urls, i) => [urls, i] as const))('%s: each link as FILTER.md says', async (urls, i) => {
    const texts = Object.keys(links);
    const verdicts = await ask(texts.map(says), { urls });
    const seen = table(
      texts,
      verdicts.map((v) => (v.startsWith('<message') ? T : v)),
    );
    expect(seen).toEqual(Object.fromEntries(texts.map((text) => [text, links[text]?.[i]])));
  });

  const inElements = [
    `<html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'><a href='http://evil.net/x'>a</a></body></html>`,
    `<html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'><img src='x.png'/></body></html>`,
    `<html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'><p style='background:url(http://evil.net)'/></body></html>`,
    `<html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'><b>http:/</b><b>/evil.net/x</b></body></html>`,
    `<x xmlns='jabber:x:oob'><url>//evil.net/x</url></x>`,
    `<x:x xmlns:x='jabber:x:oob'><x:url>http://evil.net/x</x:url></x:x>`,
    `<reference xmlns='urn:xmpp:reference:0' type='data' uri='http://evil.net/x'/>`,
    `<file-sharing xmlns='urn:xmpp:sfs:0'><sources><url-data xmlns='http://jabber.org/protocol/url-data' target='https://evil.net/x'/></sources></file-sharing>`,
    `<subject>http://evil.net</subject>`,
    `<body xml:lang='de'>ohne</body><body xml:lang='en'>http://evil.net</body>`,
    `<body>http:/<!-- -->/evil.net/x</body>`,
    `<body>http:/<b/>/evil.net/x</body>`,
    `<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'><body>http://evil.net</body></message></forwarded>`,
    `<x xmlns='jabber:x:data'><field var='a'><value>http://evil.net</value></field></x>`,
    `<event xmlns='http://jabber.org/protocol/pubsub#event'><items node='http://jabber.org/protocol/tune'><item><tune xmlns='http://jabber.org/protocol/tune'><uri>evil</uri></tune></item></items></event>`,
    `<a xmlns='x' any='http://evil.net'/>`,
  ];

  it('never lets a link through that stands elsewhere than in the body, nor one that is split', async () => {
    const stanzas = inElements.map(message);
    expect(table(stanzas, await ask(stanzas, { urls: 'block-messages-with-links' }))).toEqual(all(stanzas, R));
    expect(table(stanzas, await ask(stanzas, { urls: 'allow-intranet' }))).toEqual(all(stanzas, R));
    const plain = await ask(stanzas, { urls: 'links-as-plain-text', files: 'allow-all' });
    const again = await ask(plain, { urls: 'block-messages-with-links', files: 'allow-all' });
    expect(table(plain, again)).toEqual(all(plain, P));
  });

  it('rewritten, a message says the same, shows no link, and is not rewritten again', async () => {
    const [once = ''] = await ask(
      [says('See http://www.Example.com/A.html, or www.b.example & <mailto:x@y.example>.')],
      {
        urls: 'links-as-plain-text',
      },
    );
    expect(once).toContain(
      'See http[:]//www[.]Example[.]com/A.html, or www[.]b[.]example &amp; &lt;mailto[:]x@y[.]example&gt;.',
    );
    expect(await ask([once], { urls: 'links-as-plain-text' })).toEqual([P]);
  });

  it('never rewrites a text into one that shows a link', async () => {
    const pieces = 'http:// HTTPS: www. ftp. a.b / . : \\\\ ． mailto: x@y.z é ? ( < c'.split(' ');
    const text = fc.array(fc.constantFrom(...pieces, ' ', '\u200B'), { maxLength: 9 }).map((p) => p.join(''));
    const texts = fc.sample(text, 1500);
    const open = { urls: 'links-as-plain-text', extensions: ['none'] } as const;
    const plain = await ask(texts.map(says), open);
    const shown = plain.map((verdict, i) => (verdict === P ? says(texts[i] ?? '') : verdict));
    const judged = await ask(
      shown.filter((v) => v.startsWith('<')),
      { urls: 'block-messages-with-links' },
    );
    expect(judged.filter((v) => v !== P)).toEqual([]);
    expect(plain.filter((v) => v.startsWith('refuse')).length).toBeLessThan(texts.length / 30);
    expect(plain.filter((v) => v.startsWith('<')).length).toBeGreaterThan(500);
  });

  it('ends a name as its description here does, whatever it is made of', async () => {
    const extensions = ['exe', 'com', 'js'];
    const plain = 'a . . exe .exe .EXE .com js txt - _ / \\ ? # & : ; % ( ) @ $ * 1 K ℀ é ｅ ． 。 😀 ”'.split(' ');
    const encoded = '%2e %2E %252e %25 %00 %20 %2f %ff %C3%A9'.split(' ');
    const piece = fc.constantFrom(...plain, ...encoded, ' ', '\u200B', '\u202E', '\u00AD', '\u3000', '\u2028');
    const name = fc.array(piece, { maxLength: 10 }).map((parts) => parts.join(''));
    const some = fc.sample(name, 4000);
    const seen = await listed(some, extensions);
    expect(some.filter((text, i) => seen[i] !== endsListed(text, extensions))).toEqual([]);
    expect(seen.filter(Boolean).length).toBeGreaterThan(400);
  });
});

/** FILTER.md, "Extensions". */
function endsListed(name: string, extensions: readonly string[]): boolean {
  let text = asSeen(name);
  for (let left = 5; left > 0; left -= 1) {
    const next = asSeen(unescaped(text));
    if (next === text) break;
    if (left === 1) return true;
    text = next;
  }
  return text.split(/[/\\?#&=;:,|"<>*\0]/).some((part) => {
    const behind = part
      .split('.')
      .slice(1)
      .map((p) => /^[a-z0-9_-]*/.exec(p)?.[0] ?? '')
      .findLast((p) => p !== '');
    return behind !== undefined && extensions.includes(behind);
  });
}

const asSeen = (text: string): string =>
  text
    .normalize('NFKC')
    .replaceAll(/[\u00AD\u200B\u202E]/g, '')
    .replaceAll('。', '.')
    .replaceAll(/\u2028/g, ' ')
    .replaceAll(/[A-Z]/g, (c) => c.toLowerCase());

function unescaped(text: string): string {
  const bytes = Buffer.from(text)
    .toString('latin1')
    .replaceAll(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCodePoint(Number.parseInt(hex, 16)));
  const decoded = Buffer.from(bytes, 'latin1');
  try {
    return new TextDecoder('utf8', { fatal: true, ignoreBOM: true }).decode(decoded);
  } catch {
    return bytes.replaceAll(/[\u0080-\u00FF]/g, ' ');
  }
}
