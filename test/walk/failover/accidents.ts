import { livingProcesses } from '../../../ops/embedded/control.ts';
import { signalProcess } from '../../../ops/embedded/processes.ts';
import type { Gate } from './gate.ts';
import type { Operators } from './operators.ts';
import { SURVIVOR, type World } from './world.ts';

/** What is lost while a line of the journal is being written, or right after it was. */
export const accidents = ['worker', 'temporal', 'databases'] as const;
export type Accident = (typeof accidents)[number];

export const moments = ['before', 'after'] as const;
/** Whether the line is lost with it, or stands and nobody has been told. */
export type Moment = (typeof moments)[number];

interface Scene {
  world: World;
  gate: Gate;
  operators: Operators;
}

/**
 * Lets the accident happen to a move that is held at the gate, and mends the service. `after`: Temporal is frozen before
 * the line is let go, so that it is committed and its writer's answer arrives nowhere.
 */
export async function happen(scene: Scene, accident: Accident, moment: Moment): Promise<void> {
  const { world, gate, operators } = scene;
  if (moment === 'after') {
    await signalTemporal(world, 'SIGSTOP');
    await gate.letCommit();
  }
  await operators.noteKept();
  if (accident !== 'temporal') await world.kill('worker');
  if (accident !== 'worker') await world.kill('temporal');
  if (moment === 'before') await gate.letGo();
  if (accident === 'worker' && moment === 'after') await signalTemporal(world, 'SIGCONT');
  if (accident === 'databases') await world.dropTemporal();
  await world.mend();
}

async function signalTemporal({ stack }: World, signal: NodeJS.Signals): Promise<void> {
  const record = (await livingProcesses(stack.folder)).find((r) => r.site === SURVIVOR && r.name === 'temporal');
  if (!record) throw new Error('no Temporal service at the survivor');
  await signalProcess(record, signal);
}
