import type { Cell, Person } from './life.ts';

/** Accounts by which probes look at the service: three in each half, of whom two are contacts, and one is blocked by the other. */

const BLOCKED_CONTACTS = 'Blocked contacts';

export const syntheticName = (site: string, n: number): string => `probe-${site}-${n}`;

export function syntheticPeople(domain: string, sites: readonly string[]): Person[] {
  return sites.flatMap((site, home) => {
    const [first, second, third] = [1, 2, 3].map((n) => syntheticName(site, n));
    const at = (name = ''): string => `${name}@${domain}`;
    const contact = (of = '', to = ''): Cell[] => [of, at(to), '', 'B', 'N', '', 'N', '', 'item'];
    const none = (username = ''): Person => ({
      username,
      home,
      rosterusers: [],
      rostergroups: [],
      privacy_list: [],
      privacy_list_data: [],
      privacy_default_list: [],
    });
    return [
      { ...none(first), rosterusers: [contact(first, second)] },
      {
        ...none(second),
        rosterusers: [contact(second, first)],
        privacy_list: [[second ?? '', BLOCKED_CONTACTS]],
        privacy_list_data: [[0, 'j', at(third), 'd', '0', true, false, false, false, false]],
        privacy_default_list: [[second ?? '', BLOCKED_CONTACTS]],
      },
      none(third),
    ];
  });
}
