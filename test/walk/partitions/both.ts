import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { operatorKeyPath } from '../../../ops/embedded/configuration.ts';
import { sql } from '../../rig/sql.ts';
import { LOST, SURVIVOR } from '../failover/world.ts';
import { sites } from '../relocate/judge.ts';
import { PEER } from './lines.ts';
import { AT_HOME, OBEYED_MS, type Scene, type Served } from './scene.ts';

/** Both control rooms at once. */

const main = fileURLToPath(new URL('../../../ops/cli/main.ts', import.meta.url));
const FORK_LIMIT_MS = 60_000;

/** Each moves its own half to the other, at the same moment: one goes first, whoever that is, and nobody is served twice. */
async function opposite(scene: Scene): Promise<void> {
  const moves = sites.map((from) => {
    const to = from === LOST ? SURVIVOR : LOST;
    return scene.move({ site: from, workflow: 'relocate', half: from, from, to });
  });
  const ended = await Promise.all(moves);
  const went = ended.map(({ outcome }) => outcome === 'closed');
  if (!went.includes(true)) throw new Error(`ended ${ended.map(({ outcome }) => outcome).join(' and ')}`);
  const [ofLost, ofSurvivor] = went;
  const served: Served = { [LOST]: ofLost ? SURVIVOR : LOST, [SURVIVOR]: ofSurvivor ? LOST : SURVIVOR };
  await scene.settled(served);
  scene.neverTwice();
  for (const [half, from] of Object.entries(served)) {
    if (from === half) continue;
    const { outcome } = await scene.move({ site: from, workflow: 'relocate', half, from, to: half });
    if (outcome !== 'closed') throw new Error(`the way home of ${half} ended ${outcome}`);
  }
  await scene.settled(AT_HOME);
  scene.neverTwice();
  await scene.nothingLost();
}

/** Nobody sees anybody, and each states what is not so of the other: both serve everybody, until they see each other again. */
async function forked(scene: Scene): Promise<void> {
  const { world } = scene;
  for (const site of sites) await world.lines.cut(site, [...PEER, 'witness'], 'dropped');
  const isolation = 'it is silent, and nothing was cut off';
  const ended = await Promise.all(
    sites.map((site) => scene.move({ site, workflow: 'failover', from: site === LOST ? SURVIVOR : LOST, isolation })),
  );
  if (ended.some(({ outcome }) => outcome !== 'closed'))
    throw new Error(`ended ${ended.map(({ outcome }) => outcome).join(' and ')}`);
  const healed = Date.now();
  await world.lines.heal();
  const noted = 'select from tandem.fork where noted_there_at is not null and ended_at is null';
  await scene.until(FORK_LIMIT_MS, 'no fork was noted by both', async () => {
    const found = await Promise.all(sites.map((site) => sql(world.urlOf(site), noted)));
    return found.every((rows) => rows.length > 0);
  });
  scene.neverTwice(({ until }) => until < healed + OBEYED_MS);
  for (const operator of world.operators.keys()) await pick(scene, operator);
  // It serves nobody either while the fork is new; what it alone has is due once it has obeyed.
  const obeyed = "select from tandem.epoch where move like 'pick-%'";
  await scene.until(
    FORK_LIMIT_MS,
    `${LOST} does not obey`,
    async () => (await sql(world.urlOf(LOST), obeyed)).length > 0,
  );
  await scene.settledAt(LOST, 0, FORK_LIMIT_MS);
  await world.cover(SURVIVOR, LOST);
  await scene.settled({ [LOST]: SURVIVOR, [SURVIVOR]: SURVIVOR });
  await world.cover(SURVIVOR, LOST);
  scene.neverTwice();
  const back = {
    site: SURVIVOR,
    workflow: 'relocate',
    half: LOST,
    from: SURVIVOR,
    to: LOST,
    rule: 'survivor',
  } as const;
  const { outcome } = await scene.move(back);
  if (outcome !== 'closed') throw new Error(`the way home ended ${outcome}`);
  await scene.settled(AT_HOME);
  scene.neverTwice();
  await scene.nothingLost();
}

/** The survivor's line is to stand; as an operator types it there. */
async function pick({ world }: Scene, operator: string): Promise<void> {
  const { folder } = world.stack;
  const args = ['site', 'pick', '--line', SURVIVOR, '--operator', operator, '--key', operatorKeyPath(folder, operator)];
  const child = spawn(process.execPath, [main, ...args, '--because', 'the walk says so'], {
    cwd: folder,
    env: { ...process.env, TANDEM_CONFIG: world.lines.configurationOf(SURVIVOR) },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let told = '';
  child.stderr.on('data', (bytes: Buffer) => (told += bytes.toString()));
  const [code] = (await once(child, 'close')) as [number];
  if (code !== 0 && code !== 3) throw new Error(`${operator} could not pick: ${told}`);
}

export const bothPoints: Record<string, (scene: Scene) => Promise<void>> = {
  'both-rooms/planned': opposite,
  'both-rooms/failovers': forked,
};
