import { readdir, readFile } from 'node:fs/promises';
import type { SiteSettings } from '../../activities/settings.ts';
import { CUSTOMER, type World } from '../vault/world.ts';

/** East of a world, as its worker knows it. */
export function settingsOf(world: World): SiteSettings {
  const HOUR = 3_600_000;
  return {
    site: 'east',
    vault: world.access.east,
    cleaner: world.access.eastCleaner,
    witness: null,
    services: new Map(),
    peerVaults: new Map([['west', world.access.westReader]]),
    peerTemporals: new Map(),
    signingKey: world.signingKeys.east,
    publicKeys: world.publicKeys,
    operators: [],
    channels: new Map(),
    paging: [],
    callbacks: null,
    reportsFolder: '/nowhere',
    requests: new Map(),
    commands: new Map(),
    customers: new Map([
      [
        CUSTOMER,
        {
          id: CUSTOMER,
          domain: 'acme.example',
          sites: ['east', 'west'],
          peer: 'west',
          databaseUrl: world.urls.east,
          peerDatabaseUrl: world.urls.west,
          keys: world.keys,
          options: [],
          objectives: { rpoMs: 8 * HOUR, rtoMs: 24 * HOUR },
          target: { rpoMs: 8 * HOUR, rtoMs: 24 * HOUR },
          snapshots: { everyMs: 8 * HOUR, betweenMs: 2 * HOUR, budgetMs: HOUR / 2, pullBytesPerSecond: null },
          continuityTest: { month: 3, day: 1, hour: 3 },
          limits: { contacts: 250 },
          parties: new Map(),
          runbooks: new Map(),
        },
      ],
    ]),
  };
}

/** Processes of the data mover that this one has started and that live. */
export async function movers(): Promise<number[]> {
  const found: number[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const [line, stat] = await Promise.all([
      readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => ''),
      readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ''),
    ]);
    const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    if (line.includes('mover/main.ts') && parent === process.pid) found.push(Number(pid));
  }
  return found;
}
