import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parse, stringify } from 'yaml';
import {
  logPath,
  signalProcess,
  startProcess,
  stopProcess,
  type ProcessRecord,
} from '../../../ops/embedded/processes.ts';
import { sql } from '../../rig/sql.ts';
import { usersOf } from '../look.ts';
import { familyOf, signalAll } from './family.ts';
import { SURVIVOR, type World } from './world.ts';
import { freePort } from '../../rig/ports.ts';

/**
 * Steps that a worker is frozen in, right before their effect: the line after which they start, how many attempts then
 * wait for the journal beside the line of the run itself, and what the worker is told when it wakes up. The attempt at
 * `contacts` finds that another one has done its step.
 */
export const frozenIn = {
  contacts: { after: 'effect-epoch', waiting: 3, told: 'Activity not found on completion' },
  serve: { after: 'effect-contacts', waiting: 2, told: 'epoch-superseded' },
} as const;
export type FrozenStep = keyof typeof frozenIn;

const NAME = 'late';
const READY_LIMIT_MS = 60_000;
/** Its attempt goes on within a moment; what it is told by then has been told. */
const AWAKE_MS = 15_000;
const main = fileURLToPath(new URL('../../../ops/cli/main.ts', import.meta.url));

/** A second worker of the survivor, which stands still when it should act, and wakes up when its world is gone. */
export class LateWorker {
  private readonly world: World;
  private readonly record: ProcessRecord;
  private family: number[] = [];

  private constructor(world: World, record: ProcessRecord) {
    this.world = world;
    this.record = record;
  }

  static async start(world: World): Promise<LateWorker> {
    const { folder, configuration } = world.stack;
    const document = parse(await readFile(configuration, 'utf8')) as { sites: Record<string, { worker: object }> };
    const port = await freePort();
    Object.assign(document.sites[SURVIVOR]?.worker ?? {}, {
      listen: `127.0.0.1:${port}`,
      callbacks: `http://127.0.0.1:${port}`,
    });
    const config = join(folder, `${NAME}.yaml`);
    await writeFile(config, stringify(document));
    const args = [main, 'worker', '--site', SURVIVOR, '--config', config];
    const record = await startProcess(folder, { site: SURVIVOR, name: NAME, command: process.execPath, args });
    const worker = new LateWorker(world, record);
    await worker.says('ready:', READY_LIMIT_MS);
    return worker;
  }

  /** Stops it in its tracks, with the processes that do its work. */
  async freeze(): Promise<void> {
    this.family = await familyOf(this.record.pid);
    signalAll(this.family, 'SIGSTOP');
  }

  /** Lets it go on with what it was at; answers whether it was told that its time is past. */
  async wake(told: string): Promise<boolean> {
    signalAll(this.family, 'SIGCONT');
    return this.says(told, AWAKE_MS).then(
      () => true,
      () => false,
    );
  }

  async end(): Promise<void> {
    await signalProcess(this.record, 'SIGCONT');
    await stopProcess(this.world.stack.folder, this.record, 'SIGTERM', 40_000);
  }

  private async says(text: string, limitMs: number): Promise<void> {
    const path = logPath(this.world.stack.folder, SURVIVOR, NAME);
    for (const deadline = Date.now() + limitMs; ; await pause(50)) {
      if ((await readFile(path, 'utf8').catch(() => '')).includes(text)) return;
      if (Date.now() > deadline) throw new Error(`the late worker does not say ${text} within ${limitMs / 1000} s`);
    }
  }
}

/** All that a move may change at the survivor, as one digest. */
export async function stateOf({ url }: World): Promise<string> {
  const rows = await sql(
    url,
    `select (select json_agg(e order by customer) from tandem.epoch e) as epoch,
            (select json_agg(s order by customer, site) from tandem.serving s) as serving,
            (select json_agg(m order by move) from tandem.move m) as moves,
            (select json_agg(j order by move, seq) from tandem.journal j) as journal,
            (select json_agg(h order by username) from tandem.home h) as homes,
            (select json_agg(u order by customer, epoch) from tandem.external_update u) as asked`,
  );
  const users = [...(await usersOf(url))];
  return createHash('sha256')
    .update(JSON.stringify([rows, users]))
    .digest('hex');
}
