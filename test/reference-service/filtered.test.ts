import { afterAll, beforeAll, describe } from 'vitest';
import { findEjabberd } from '../../ops/reference-service/ejabberd/installed.ts';
import { archive } from './archive.ts';
import { messageFilter } from './filter.ts';
import { openFilteredSite, type FilteredSite } from './filtered-site.ts';

/** One real ejabberd with a filter and an archive, started once for both. */

const ejabberd = findEjabberd();
let site: FilteredSite;
const opened = (): FilteredSite => site;

// A real ejabberd is not on every machine: root on Debian gets it by `npm test` itself, and CI is that.
describe.skipIf(ejabberd === null)('one site:', () => {
  beforeAll(async () => {
    if (ejabberd) site = await openFilteredSite(ejabberd);
  }, 60_000);
  afterAll(() => site?.close(), 30_000);

  messageFilter(opened);
  archive(ejabberd, opened);
});
