import { describe, expect, it } from 'vitest';
import { filterDigest, filterDocument, urlModes } from '../../activities/filter/policy.ts';
import { sha256 } from '../../activities/vault/signed.ts';
import { findEjabberd } from '../../ops/reference-service/ejabberd/installed.ts';
import { all, ask, message, policy, says, table, taken } from './rules.ts';

/** What else the message filter lets through, and what it does not: files, what nobody can see into, what is too much. */

const P = 'pass';

// Erlang and ejabberd's libraries are not on every machine: root on Debian gets them by `npm test` itself, and CI is that.
describe.skipIf(findEjabberd() === null)('the rules of the message filter', () => {
  it('never lets through what nobody can see into, unless nothing is filtered', async () => {
    const stanzas = [
      `<encrypted xmlns='eu.siacs.conversations.axolotl'><payload>x</payload></encrypted>`,
      `<encrypted xmlns='urn:xmpp:omemo:2'/>`,
      `<openpgp xmlns='urn:xmpp:openpgp:0'>x</openpgp>`,
      `<x xmlns='jabber:x:encrypted'>x</x>`,
      `<rtt xmlns='urn:xmpp:rtt:0'><t>h</t></rtt>`,
      `<body>?OTRv3?</body>`,
      `<forwarded xmlns='urn:xmpp:forward:0'><message><encrypted xmlns='urn:xmpp:omemo:2'/></message></forwarded>`,
    ].map(message);
    for (const change of [{ urls: 'allow-all' }, { files: 'allow-all' }, {}] as const)
      expect(table(stanzas, await ask(stanzas, change))).toEqual(all(stanzas, 'refuse: unjudged'));
    const nothing = await ask(stanzas, { urls: 'allow-all', files: 'allow-all' });
    expect(table(stanzas, nothing)).toEqual(all(stanzas, P));
  });

  it('never lets through more than can be looked at, and looks at the worst within seconds', async () => {
    const long = (piece: string, size = 262_000): string => piece.repeat(Math.floor(size / piece.length));
    const deep = `${'<a>'.repeat(40)}${'</a>'.repeat(40)}`;
    const stanzas = [
      says(long('x', 263_000)),
      message('<a/>'.repeat(5000)),
      message(deep),
      says(long('http://a ', 3000)),
      says(long('http://', 262_000)),
      message(`<a b='${long('x', 263_000)}'/>`),
    ];
    expect(await ask(stanzas, {})).toEqual(stanzas.map(() => 'refuse: unjudged'));
    const worst = ['a', 'a.', 'a.b/', 'a:', '%25', '+-.', '(www.', '\u0301', '\uFDFA', '\\\\', 'a@b.c/'].map((piece) =>
      says(long(piece, piece > '\x7F' ? 80_000 : 262_000)),
    );
    const start = performance.now();
    await ask(worst, { urls: 'links-as-plain-text' });
    expect(performance.now() - start).toBeLessThan(20_000);
  });

  it('lets through what clients send with every message', async () => {
    const stanzas = [
      `<body>hello</body><active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/><origin-id xmlns='urn:xmpp:sid:0' id='a'/><markable xmlns='urn:xmpp:chat-markers:0'/>`,
      `<composing xmlns='http://jabber.org/protocol/chatstates'/>`,
      `<x xmlns='http://jabber.org/protocol/muc#user'><invite to='a@b.example/c'><reason>come</reason></invite></x>`,
      `<x xmlns='jabber:x:conference' jid='room@conference.acme.example' reason='come'/>`,
      `<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>http://jabber.org/protocol/muc#request</value></field><field var='muc#role'><value>participant</value></field></x>`,
      `<event xmlns='http://jabber.org/protocol/pubsub#event'><items node='http://jabber.org/protocol/nick'><item><nick xmlns='http://jabber.org/protocol/nick'>b</nick></item></items></event>`,
      `<reference xmlns='urn:xmpp:reference:0' type='mention' begin='0' end='2' uri='xmpp:bob@acme.example'/><body>hi</body>`,
      `<html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'><p style='color:red'>hello</p></body></html>`,
    ].map(message);
    for (const urls of urlModes)
      expect(table(stanzas, await ask(stanzas, { urls, files: 'block-all' }))).toEqual(all(stanzas, P));
  });

  const file = (name: string): string[] => [
    `<request xmlns='urn:xmpp:http:upload:0' filename='${name}' size='1'/>`,
    `<request xmlns='urn:xmpp:http:upload'><filename>${name}</filename><size>1</size></request>`,
    `<si xmlns='http://jabber.org/protocol/si' profile='http://jabber.org/protocol/si/profile/file-transfer'><file xmlns='http://jabber.org/protocol/si/profile/file-transfer' name='${name}' size='1'/></si>`,
    `<jingle xmlns='urn:xmpp:jingle:1' action='session-initiate'><content><description xmlns='urn:xmpp:jingle:apps:file-transfer:5'><file><name>${name}</name></file></description></content></jingle>`,
    `<query xmlns='jabber:iq:oob'><url>http://wiki/${name}</url></query>`,
    message(`<x xmlns='jabber:x:oob'><url>http://wiki/${name}</url></x>`),
    message(
      `<reference xmlns='urn:xmpp:reference:0' type='data'><media-sharing xmlns='urn:xmpp:sims:1'><file xmlns='urn:xmpp:jingle:apps:file-transfer:5'><name>${name}</name></file></media-sharing></reference>`,
    ),
    message(
      `<file-sharing xmlns='urn:xmpp:sfs:0'><file xmlns='urn:xmpp:file:metadata:0'><name>${name}</name></file></file-sharing>`,
    ),
  ];
  const unnamed = [
    `<request xmlns='urn:xmpp:http:upload:0' size='1'/>`,
    `<si xmlns='http://jabber.org/protocol/si'><file xmlns='http://jabber.org/protocol/si/profile/file-transfer' size='1'/></si>`,
    `<jingle xmlns='urn:xmpp:jingle:1' action='content-add'><content><description xmlns='urn:xmpp:jingle:apps:file-transfer:5'><file/></description></content></jingle>`,
  ];
  const channels = [
    `<open xmlns='http://jabber.org/protocol/ibb' sid='a'/>`,
    `<query xmlns='http://jabber.org/protocol/bytestreams' sid='a'/>`,
    message(`<data xmlns='urn:xmpp:bob' cid='a'>aaaa</data>`),
    `<result><data xmlns='urn:xmpp:bob' cid='a'>aaaa</data></result>`,
  ];
  const call = `<jingle xmlns='urn:xmpp:jingle:1' action='session-initiate'><content><description xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio'/></content></jingle>`;

  it.each(['allow-all', 'allow-active-links'] as const)(
    'files, in every way to offer one, with links as %s',
    async (urls) => {
      const [bad, good] = [file('Setup.EXE'), file('report.pdf')];
      const no = await ask([...bad, ...unnamed], { urls });
      expect(no.map((v) => v.startsWith('refuse: '))).toEqual(no.map(() => true));
      const yes = [...good, ...channels, call];
      expect(table(yes, await ask(yes, { urls }))).toEqual(all(yes, P));
      const none = [...good, ...unnamed, ...channels];
      expect(table(none, await ask(none, { urls, files: 'block-all' }))).toEqual(all(none, 'refuse: file'));
      const slot = `<result><slot xmlns='urn:xmpp:http:upload:0'><get url='http://wiki/a.exe'/></slot></result>`;
      expect(await ask([call, slot], { urls, files: 'block-all' })).toEqual([P, P]);
    },
  );

  it('files are not looked at where they are allowed, and calls are no files', async () => {
    const stanzas = [...file('setup.exe'), ...unnamed, ...channels, call];
    const seen = await ask(stanzas, { urls: 'allow-all', files: 'allow-all' });
    expect(table(stanzas, seen)).toEqual(all(stanzas, P));
  });

  it('takes a row only as Tandem writes it', async () => {
    const good = { document: filterDocument(policy()), digest: filterDigest(policy()) };
    const changed = (change: object): { document: string; digest: string } => {
      const document = JSON.stringify({ ...(JSON.parse(good.document) as object), ...change });
      return { document, digest: sha256(document) };
    };
    const bad = [
      { ...good, digest: sha256('x') },
      { ...good, document: good.document.replace('exe', 'exf') },
      { document: '', digest: sha256('') },
      { document: '{', digest: sha256('{') },
      { document: '[]', digest: sha256('[]') },
      { document: '{}', digest: sha256('{}') },
      changed({ format: 2 }),
      changed({ urls: 'anything' }),
      changed({ files: null }),
      changed({ extensions: ['.exe'] }),
      changed({ extensions: ['exe\n'] }),
      changed({ extensions: 'exe' }),
      changed({ extensions: [1] }),
      changed({ intranet: ['*'] }),
      changed({ more: 1 }),
    ];
    expect(await taken([good, ...bad])).toEqual([true, ...bad.map(() => false)]);
  });
});
