import { setTimeout as pause } from 'node:timers/promises';
import { WorkflowNotFoundError, type Client } from '@temporalio/client';
import { failoverStatus, moveHandle, resumeMove, startMove, type FailoverHandle } from '../../../ops/moves.ts';
import { sendVerb, signVerb } from '../../../ops/verbs.ts';
import type { FailoverStatus, MoveInput, MoveWorkflow } from '../../../workflows/model/moves.ts';
import { sql } from '../../rig/sql.ts';
import type { World } from './world.ts';

/** A question that was handed to a dead worker is asked again. */
const ANSWER_MS = 3000;
const LOOK_MS = 100;

/** A move as it is asked for, and the site where it runs. */
export interface Declaration {
  site: string;
  workflow: MoveWorkflow;
  input: MoveInput;
}

/**
 * Two operators who bring a move to its end, whatever becomes of the service: they declare it once, sign what is not
 * signed, and try again when nobody answers.
 */
export class Operators {
  private readonly signed = new Map<string, number>();
  /** How often those had signed whose word stood in the journal when an accident happened first. */
  private readonly kept = new Map<string, number>();
  private readonly world: World;
  private readonly client: Client;
  private readonly declaration: Declaration;
  private busy = false;
  private waitsFor = '';
  move = '';
  /** Whether what is held is tried again as soon as it is. */
  retries = false;

  constructor(world: World, client: Client, declaration: Declaration) {
    this.world = world;
    this.client = client;
    this.declaration = declaration;
  }

  async declare(): Promise<void> {
    const { site, workflow, input } = this.declaration;
    const handle = await startMove(this.client, site, workflow, input);
    this.move = (await handle.describe()).runId;
  }

  /** Signs what is asked until the move has ended, and waits for its run, while `meanwhile` happens; a failure of one ends both. */
  async bringToEnd(limit: AbortSignal, meanwhile: () => Promise<void>): Promise<void> {
    const failed = new AbortController();
    const signal = AbortSignal.any([limit, failed.signal]);
    const work = [meanwhile(), this.sign(signal)].map((part) =>
      part.catch((error: unknown) => {
        failed.abort(error);
        throw error;
      }),
    );
    await Promise.allSettled(work); // Nobody asks anything of a connection that is closed after this.
    failed.signal.throwIfAborted();
  }

  private async sign(signal: AbortSignal): Promise<void> {
    const handle = this.handle();
    while (!(await this.hasEnded()) && !(await this.wasRefused(handle))) {
      if (signal.aborted) throw new Error(`move ${this.move} does not end: it waits for ${this.waitsFor}`);
      if (!this.busy) await this.signWhatIsAsked(handle);
      await pause(LOOK_MS);
    }
    while (await this.runs(handle)) {
      signal.throwIfAborted();
      await pause(LOOK_MS);
    }
  }

  /** Remembers whose word stands in the journal: it counts, whatever is lost now, and whatever is lost later. */
  async noteKept(): Promise<void> {
    const rows = await sql<{ operator: string }>(
      this.url,
      `select body::jsonb->>'operator' as operator from tandem.journal where move = '${this.move}' and kind = 'signed'`,
    );
    for (const { operator } of rows)
      if (!this.kept.has(operator)) this.kept.set(operator, this.signed.get(operator) ?? 0);
  }

  /** Those who were asked for what the journal had, and those who were never asked. */
  askedWrongly(): string[] {
    return [...this.world.operators.keys()].flatMap((operator) => {
      const times = this.signed.get(operator) ?? 0;
      const kept = this.kept.get(operator);
      if (times === 0) return [`${operator} never signed`];
      return kept !== undefined && times > kept ? [`${operator} was asked again for what the journal had`] : [];
    });
  }

  /** Has the move paused in the middle of a step, and waits until that step is over and nothing runs. */
  async pauseAfter(letGo: () => Promise<void>): Promise<void> {
    const handle = this.handle();
    const said = this.say('pause');
    while (!(await failoverStatus(handle)).paused) await pause(LOOK_MS);
    await letGo();
    await said;
    while ((await handle.describe()).raw.pendingActivities?.length) await pause(LOOK_MS);
  }

  async say(verb: 'pause' | 'resume'): Promise<void> {
    const handle = this.handle();
    const [[operator, key] = []] = this.world.operators;
    if (!operator || !key) throw new Error('no operators');
    await sendVerb(handle, signVerb(await failoverStatus(handle), { verb, operator, key, because: 'to be seen' }));
  }

  /** Both of them, one after the other. */
  async turnBack(): Promise<void> {
    const handle = this.handle();
    for (const [operator, key] of this.world.operators) {
      const status = await failoverStatus(handle);
      if (status.turnBack?.operators.includes(operator)) continue;
      await sendVerb(handle, signVerb(status, { verb: 'turn-back', operator, key, because: 'it takes too long' }));
    }
  }

  /** What the move's own run says of it; null while nobody answers. */
  async status(): Promise<FailoverStatus | null> {
    const handle = this.handle();
    return this.client.withDeadline(Date.now() + ANSWER_MS, () => failoverStatus(handle)).catch(() => null);
  }

  private handle(): FailoverHandle {
    return moveHandle(this.client, this.declaration.workflow, this.world.customer);
  }

  /** Of the contacts where the move runs. */
  private get url(): string {
    return this.world.urlOf(this.declaration.site);
  }

  /** Also when nobody answers; not on a service that has lost it. */
  private async runs(handle: FailoverHandle): Promise<boolean> {
    if (this.busy) return true;
    try {
      const { status } = await this.client.withDeadline(Date.now() + ANSWER_MS, () => handle.describe());
      return status.name === 'RUNNING';
    } catch (error) {
      return !(error instanceof WorkflowNotFoundError);
    }
  }

  /** Its start was: it never had the slot. */
  private async wasRefused(handle: FailoverHandle): Promise<boolean> {
    if (this.busy) return false;
    const describe = (): Promise<string> => handle.describe().then(({ status }) => status.name);
    return (await this.client.withDeadline(Date.now() + ANSWER_MS, describe).catch(() => '')) === 'FAILED';
  }

  /** Nobody begins to sign while `work` is done to the service. */
  async without<T>(work: () => Promise<T>): Promise<T> {
    this.busy = true;
    try {
      return await work();
    } finally {
      this.busy = false;
    }
  }

  /** On a Temporal service that knows of nothing: the move goes on; one that never had the slot is declared again. */
  async goOn(): Promise<void> {
    const { site, workflow, input } = this.declaration;
    if (await this.hasEnded()) return;
    const slot = await sql(this.url, `select from tandem.move where move = '${this.move}'`);
    if (slot.length === 0) return this.declare();
    await resumeMove(this.client, site, { workflow, customer: input.customer });
  }

  async hasEnded(): Promise<boolean> {
    const ended = `select from tandem.move where move = '${this.move}' and ended_at is not null`;
    const rows = await sql(this.url, ended).catch(() => []); // Its database is away.
    return rows.length > 0;
  }

  /** One look, and one signature if it is asked. What fails is tried at the next look. */
  private async signWhatIsAsked(handle: FailoverHandle): Promise<void> {
    try {
      await this.client.withDeadline(Date.now() + ANSWER_MS, async () => {
        const status = await failoverStatus(handle);
        this.waitsFor = status.waitsFor;
        if (this.retries) await this.retryHeld(handle, status);
        if (status.phase !== 'approving') return;
        for (const [operator, key] of this.world.operators) {
          if (status.approvals.some((a) => a.operator === operator)) continue;
          this.signed.set(operator, (this.signed.get(operator) ?? 0) + 1);
          const accepts = status.plan?.decisions.acceptances ?? [];
          await sendVerb(handle, signVerb(status, { verb: 'approve', operator, key, accepts }));
          return;
        }
      });
    } catch {
      // The service is away, or the run has ended: the journal tells.
    }
  }

  private async retryHeld(handle: FailoverHandle, status: FailoverStatus): Promise<void> {
    const [[operator, key] = []] = this.world.operators;
    for (const { id, state } of status.steps) {
      if (state !== 'held' || !operator || !key) continue;
      await sendVerb(
        handle,
        signVerb(status, { verb: 'retry', step: id, operator, key, because: 'it is whole again' }),
      );
    }
  }
}
