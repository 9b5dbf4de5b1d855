import { describe, expect, it } from 'vitest';
import { unconfigured, withParties } from '../../activities/services/configured.ts';
import type { ChannelSettings } from '../../activities/notify/port.ts';
import type { DnsSettings, Party } from '../../activities/settings.ts';
import type { Step } from '../../workflows/model/plan.ts';

const party = (option: Party['option']): Party => ({
  option,
  channel: 'mail',
  chaseMs: 1,
  subject: null,
  change: 'x',
  contact: null,
});
const parties = new Map([
  ['woodgrove', party('third-party-federation')],
  ['fabrikam', party('third-party-federation')],
]);
const asking = (named: string): Step => ({
  id: 'partners',
  act: 'request-external-update',
  party: named,
  needs: [],
  timeoutMs: 1,
  attempts: 1,
  onFailure: 'hold',
});
const asked = (named: string): string[] | undefined => withParties([asking(named)], { parties })[0]?.parties;
const site = {
  site: 'west',
  channels: new Map<string, ChannelSettings>([['box', { kind: 'outbox', folder: 'x' }]]),
  requests: new Map(),
  commands: new Map(),
};

const customer = { id: 'contoso' };

describe('a step that asks parties outside', () => {
  it('means one of them, or all of an option, always in the same order; and never those of another option', () => {
    expect(asked('woodgrove')).toEqual(['woodgrove']);
    expect(asked('third-party-federation')).toEqual(['fabrikam', 'woodgrove']);
    expect(asked('public-im')).toEqual([]);
    expect(asked('tailspin')).toEqual([]);
  });
});

describe('a plan cannot be approved', () => {
  it('when a step asks nobody, or tells by a channel that the site has not', () => {
    const telling = (channel: string): Step => ({ ...asking('x'), act: 'notify', channel, message: 'x' });
    const texts = (steps: Step[]): string[] => unconfigured(site, customer, steps).map((b) => b.text);
    expect(texts(withParties([asking('public-im')], { parties }))).toEqual([
      'step partners: the customer has no party public-im',
    ]);
    expect(texts([telling('pager')])).toEqual(['step partners: "pager" is no channel of west; allowed: box']);
    expect(texts([telling('box'), ...withParties([asking('fabrikam')], { parties })])).toEqual([]);
  });

  it('when a step leads users by what this site has not', () => {
    const leading = (act: 'shift-dns' | 'shift-proxy'): Step => ({ ...asking('x'), id: act, act });
    const steps = [leading('shift-dns'), leading('shift-proxy')];
    const dns = {} as DnsSettings;
    const [proxy, backends] = [{ socket: '/run/x' }, []];
    const blocked = (own: object, of: object): string[] =>
      unconfigured({ ...site, ...own }, { ...customer, ...of }, steps).map(({ kind, text }) => `${kind}: ${text}`);
    const noDns = 'not-configured: step shift-dns: the configuration has no `customers.contoso.dns`';
    const noProxy =
      'not-configured: step shift-proxy: the configuration has not both `sites.west.proxy` and `customers.contoso.proxy`';
    expect(blocked({}, {})).toEqual([noDns, noProxy]);
    expect(blocked({}, { dns, backends })).toEqual([noProxy]);
    expect(blocked({ proxy }, { dns })).toEqual([noProxy]);
    expect(blocked({ proxy }, { dns, backends })).toEqual([]);
    expect(unconfigured(site, customer, [])).toEqual([]);
  });
});
