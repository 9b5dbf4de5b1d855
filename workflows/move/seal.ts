import { sleep } from '@temporalio/workflow';
import { failureText } from '../model/failures.ts';
import type { ClosedMove } from '../model/moves.ts';
import { sealer } from './activities.ts';
import type { Run } from './run.ts';

const MINUTE = 60_000;
/** How long a run whose move has ended waits before it asks the vault again: an hour in all. */
const sealAgainMs = [MINUTE / 4, MINUTE, 4 * MINUTE, 10 * MINUTE, 15 * MINUTE, 15 * MINUTE, 15 * MINUTE];

/**
 * The slot is free and the journal closed: only the vault is missing. It is waited for, loudly, and no longer than an hour:
 * what it has not taken then, the worker brings there once it is back.
 */
export async function seal(run: Run, closed: ClosedMove): Promise<ClosedMove> {
  const sealed = await untilSealed(run, closed);
  await run.pages.settle();
  return sealed;
}

async function untilSealed(run: Run, { notSealed, ...closed }: ClosedMove): Promise<ClosedMove> {
  if (notSealed === undefined) return closed;
  const text = `evidence: not sealed yet: ${notSealed}`;
  // No line of the journal, which is closed.
  run.alarms.push({ at: new Date(Date.now()).toISOString(), text });
  show(run, notSealed);
  run.pages.alarm(text);
  for (const ms of sealAgainMs) {
    await sleep(ms, { summary: 'until the vault is asked again' });
    const move = { customer: run.input.customer, move: run.move };
    const because = await sealer['seal-move'](move).then(() => null, failureText);
    show(run, because);
    if (because === null) return closed;
  }
  return { ...closed, notSealed: run.notSealed ?? notSealed };
}

function show(run: Run, because: string | null): void {
  run.notSealed = because;
  run.show();
}
