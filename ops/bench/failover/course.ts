import type { KeyObject } from 'node:crypto';
import type { SiteActivities } from '../../../activities/types.ts';
import { failure } from '../../../workflows/model/failures.ts';
import { performedActs } from '../../../workflows/model/acts.ts';
import type { FailoverReport, FailoverStatus } from '../../../workflows/model/moves.ts';
import { Fault } from '../../fault.ts';
import { followFailover, startFailover, type FailoverHandle } from '../../moves.ts';
import { sendVerb, signVerb } from '../../verbs.ts';
import { SOURCE, SURVIVOR, type Ground } from './ground.ts';

export interface Operator {
  id: string;
  key: KeyObject;
}

/** One failover, as the operators see it. Times in ms. */
export interface Course {
  /** From the declaration to the end, signatures given as soon as they are asked for. */
  wholeMs: number;
  /** From the second signature to the commit that lets the survivor serve, and to the end. */
  servedMs: number;
  closedMs: number;
  history: { events: number; bytes: number };
  report: FailoverReport;
}

/** Each look is a task for the worker: many who look at once look less often, and their looks are no load to speak of. */
const POLL_MS = 10;
const POLL_BESIDE_MS = 30;
/** A look that a busy worker did not answer in time is given again. */
const LOOKS = 10;

interface Signed {
  handle: FailoverHandle;
  /** By the clock of `performance.now()`. */
  begun: number;
  approvedAt: number;
}

/** Declares, and signs twice as soon as that is asked for. `beside`: how many others do so at the same time. */
export async function signTwice(ground: Ground, customer: string, beside = 0): Promise<Signed> {
  const { client, operators } = ground;
  await ground.comeHome(customer);
  const begun = performance.now();
  const [one, two] = operators;
  if (!one || !two) throw new Fault('bench: two operators are needed', 'The embedded stack has them.');
  const handle = await startFailover(client, SURVIVOR, {
    customer,
    from: SOURCE,
    reason: 'a measurement',
    requestedBy: one.id,
    isolation: 'every process of it was ended',
  });
  const approving = await untilApproving(handle, beside > 1 ? beside * POLL_BESIDE_MS : POLL_MS);
  for (const { id: operator, key } of [one, two])
    await sendVerb(handle, signVerb(approving, { verb: 'approve', operator, key }));
  return { handle, begun, approvedAt: performance.now() };
}

async function untilApproving(handle: FailoverHandle, everyMs: number): Promise<FailoverStatus> {
  for (let look = 1; ; look += 1) {
    try {
      return await followFailover(handle, () => undefined, { enough: ({ phase }) => phase === 'approving', everyMs });
    } catch (error) {
      if (look === LOOKS) throw error;
    }
  }
}

/** Declares, signs twice, and waits for the end. */
export async function failOver(ground: Ground, customer: string, beside = 0): Promise<Course> {
  const { handle, begun, approvedAt } = await signTwice(ground, customer, beside);
  const { report } = await handle.result();
  const ended = performance.now();
  if (report.outcome !== 'closed')
    throw new Fault(`bench: the failover of ${customer} ended as ${report.outcome}`, 'Its report tells why.');
  const { historyLength, historySize } = await handle.describe();
  return {
    wholeMs: ended - begun,
    servedMs: Date.parse(report.servedAt ?? '') - Date.parse(report.approvedAt ?? ''),
    closedMs: ended - approvedAt,
    history: { events: historyLength, bytes: historySize ?? 0 },
    report,
  };
}

/** A move whose first step fails, and waits for an operator from then on. Its slot stays taken when its run is ended. */
export async function held(ground: Ground, customer: string): Promise<FailoverHandle> {
  const { handle } = await signTwice(ground, customer);
  await followFailover(handle, () => undefined, {
    enough: ({ steps }) => steps.some(({ state }) => state === 'held'),
  });
  return handle;
}

/** All acts made instant: what is left is the orchestration. */
export function instant(real: SiteActivities, fails: (customer: string) => boolean = () => false): SiteActivities {
  const acts = performedActs.map((act) => [
    act,
    ({ key }: { key: { customer: string } }) => {
      if (fails(key.customer)) throw failure('input-invalid', 'the act was told to fail');
      return Promise.resolve({ summary: 'it took no time', facts: { servedAt: new Date().toISOString() } });
    },
  ]);
  return { ...real, ...(Object.fromEntries(acts) as Pick<SiteActivities, (typeof performedActs)[number]>) };
}
