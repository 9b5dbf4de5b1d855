/**
 * Users are served by halves: those whose home is one site are a half, named as the site. A customer may take cohorts out of it,
 * `site/name`: groups of its users who can move on their own, before the others or back again. Whoever is in a cohort is not in
 * the half that is named as the site.
 */
const COHORT = /^([^/]+)\/[a-z][a-z0-9-]{0,30}$/;

/** The home of its users. */
export const homeOf = (half: string): string => half.split('/', 1)[0] ?? half;

export const isCohort = (half: string): boolean => COHORT.test(half);

/** Whether it may be the name of a half of a customer with these sites. */
export const isHalf = (half: string, sites: readonly string[]): boolean =>
  sites.includes(half) || (isCohort(half) && sites.includes(homeOf(half)));

/** Halves that are moved by a name of their own: a cohort that is where its half is moves with that. */
export const byName = (halves: readonly string[]): string[] =>
  halves.filter((half) => !isCohort(half) || !halves.includes(homeOf(half)));

export const COHORT_NAME = 'a name of small letters, digits and dashes, a letter first, at most 31 characters';
