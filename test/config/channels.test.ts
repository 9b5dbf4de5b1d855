import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { channelsOf, pagingOf } from '../../ops/config/channels.ts';
import { Source } from '../../runbooks/yaml.ts';

/** What `sites.SITE.channels` and `paging` take, and what they refuse. */

function told(channels: unknown, paging?: unknown): string[] {
  const source = new Source('tandem.yaml', stringify({ channels, paging }));
  const at = source.root.fields(['channels', 'paging']);
  pagingOf(at.paging, channelsOf(at.channels));
  return source.faults.map((f) => `${f.path}: ${f.text}`);
}

const hook = { webhook: { url: 'https://pager.example/hook' } };
const mail = { server: 'mail.example:587', from: 'tandem@corp.example', to: ['duty@corp.example'] };

describe('a channel is refused', () => {
  it.each<[string, unknown, RegExp]>([
    ['without TLS', { webhook: { url: 'http://pager.example/' } }, /webhook\.url: .*https is expected/],
    [
      'with a password in its address',
      { webhook: { url: 'https://a:b@pager.example/' } },
      /without a name or password/,
    ],
    [
      'with a secret written into it',
      { webhook: { ...hook.webhook, secret: 'c2VjcmV0' } },
      /secret: a secret is never/,
    ],
    ['of two kinds', { ...hook, outbox: { folder: 'outbox' } }, /2 kinds of channel; exactly one/],
    ['of no kind', {}, /0 kinds of channel/],
    ['of a misspelt kind', { webhoko: {} }, /unknown key; did you mean webhook\?/],
    ['that sends mail in clear', { smtp: { ...mail, tls: 'none' } }, /"none" to mail\.example; mail that leaves/],
    ['that signs in without a password', { smtp: { ...mail, user: 'tandem' } }, /user and password stand together/],
    ['for nobody', { smtp: { ...mail, to: [] } }, /to: nobody/],
    [
      'with a header in an address',
      { smtp: { ...mail, to: ['a@b\r\nBcc: c@d'] } },
      /to\.0: .*a mail address is expected/,
    ],
    ['without a port', { smtp: { ...mail, server: 'mail.example' } }, /server: .*host:port is expected/],
  ])('%s', (_, channel, why) => {
    expect(told({ duty: channel }).join('\n')).toMatch(why);
    expect(told({ duty: channel }).join('\n')).not.toContain('c2VjcmV0');
  });

  it('with all its faults at once', () => {
    expect(told({ duty: { smtp: { server: 'x', from: 'y', to: ['z'] } } })).toHaveLength(3);
  });

  it('when people are paged by one that is not there, or twice by one', () => {
    expect(told({ duty: hook }, ['dutty'])).toEqual([
      'paging.0: "dutty" is no channel; did you mean duty? allowed: duty',
    ]);
    expect(told({ duty: hook }, ['duty', 'duty'])).toEqual(['paging.1: "duty" is named twice']);
    expect(told(undefined, ['duty'])).toHaveLength(1);
  });
});

describe('channels', () => {
  it('may be none, or of each kind; in clear on loopback only', () => {
    expect(told(undefined)).toEqual([]);
    const local = { smtp: { ...mail, server: '127.0.0.1:25', tls: 'none' } };
    expect(told({ hook, mail: { smtp: mail }, local, box: { outbox: { folder: 'outbox' } } }, ['hook', 'box'])).toEqual(
      [],
    );
  });
});
