import { afterAll, beforeAll, describe } from 'vitest';
import { findEjabberd } from '../../ops/reference-service/ejabberd/installed.ts';
import { hasSlapd } from '../../ops/reference-service/slapd.ts';
import { directoryClaims } from './directory.ts';
import { lostDirectoryClaims } from './lost-directory.ts';
import { lostSiteClaims } from './lost-site.ts';
import { serviceClaims } from './service.ts';
import { openWholeStack, type WholeStack } from './whole-stack.ts';

/**
 * All that a stack has where the machine has all servers: one of them for all parts, as it costs half a minute of a core. They come in
 * the order of an operator's days: it is started, people come to it, its directory is lost, then a site.
 */

// Real servers are not on every machine: root on Debian gets them by `npm test` itself, and CI is that.
describe.skipIf(findEjabberd() === null)('the whole stack', () => {
  let opening: Promise<WholeStack>;
  const opened = (): Promise<WholeStack> => opening;
  beforeAll(() => (opening = openWholeStack()), 60_000);
  afterAll(async () => (await opening).close(), 60_000);

  describe('the reference service in it', () => {
    serviceClaims(opened);
  });
  // As above; a stack without a directory gives homes and accounts to its people by itself.
  describe.skipIf(!hasSlapd())('its directory', () => {
    directoryClaims(opened);
  });
  // As above.
  describe.skipIf(!hasSlapd())('its directory, out of reach', () => {
    lostDirectoryClaims(opened);
  });
  describe('users of a lost site, and of the other one', () => {
    lostSiteClaims(opened);
  });
});
