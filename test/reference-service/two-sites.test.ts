import { afterAll, beforeAll, describe } from 'vitest';
import { points } from '../rig/form.ts';
import { ejabberd, startServiceSites, type ServiceSites } from '../rig/service.ts';
import { closed } from './closed.ts';
import { doctor } from './doctor.ts';
import { known } from './known.ts';
import { link } from './link.ts';
import { rehomed } from './rehomed.ts';
import { rightToServe } from './right-to-serve.ts';

/**
 * Two real ejabberd, of which each part finds and leaves the same: they are started once, because a start costs more than most
 * of what is proven. Every part wakes whom it froze, starts whom it ended, and leaves the rows as they were.
 */

let service: ServiceSites;
const opened = (): ServiceSites => service;

// A real ejabberd is not on every machine: root on Debian gets it by `npm test` itself, and CI is that.
describe.skipIf(ejabberd === null)('two sites:', () => {
  beforeAll(async () => {
    const homes = { anna: 'east', aron: 'east', wendy: 'west', will: 'west', nobody: null } as const;
    if (ejabberd) service = await startServiceSites(ejabberd, homes);
  }, 60_000);
  afterAll(() => service?.close(), 30_000);

  closed(opened, points);
  rightToServe(opened);
  known(opened);
  link(opened);
  doctor(opened);
  rehomed(opened);
});
