import type { Cell, Person } from './life.ts';

/**
 * Accounts by which probes look at the service: three in each half, and three who are put into its cohort `pilot` when there is one. Two
 * of three are contacts, and one is blocked by the other.
 */

const BLOCKED_CONTACTS = 'Blocked contacts';

/** The cohort for which the stack is ready: those who test with it make it. */
export const PILOT = 'pilot';

/** Of a half, `SITE` or `SITE/NAME`. */
export const syntheticName = (half: string, n: number): string => `probe-${half.replace('/', '-')}-${n}`;

export function syntheticPeople(domain: string, sites: readonly string[]): Person[] {
  const groups = sites.flatMap((site, home) => [site, `${site}/${PILOT}`].map((half) => ({ half, home })));
  return groups.flatMap(({ half, home }) => {
    const [first, second, third] = [1, 2, 3].map((n) => syntheticName(half, n));
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
