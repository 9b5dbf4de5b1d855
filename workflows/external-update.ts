import {
  ActivityCancellationType,
  allHandlersFinished,
  ApplicationFailure,
  CancellationScope,
  condition,
  continueAsNew,
  defineQuery,
  defineSignal,
  defineUpdate,
  getExternalWorkflowHandle,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  setWorkflowOptions,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { ExternalUpdateActivities } from '../activities/types.ts';
import {
  externalVerbs,
  isOpen,
  refuseExternal,
  type ExternalKey,
  type ExternalUpdate,
  type ExternalVerb,
  type FollowedUpdate,
  type SignedExternalVerb,
} from './model/external.ts';
import { failure } from './model/failures.ts';
import { searchAttributes } from './model/names.ts';
import { HEARTBEAT_TIMEOUT } from './move/activities.ts';

/** Nobody outside needs longer; what nobody has closed by then says so, and is no longer chased. */
const LIMIT_MS = 365 * 24 * 3_600_000;
/** A message that its channel did not take is sent again after so long, or after the chase when that is shorter. */
const AGAIN_MS = 3_600_000;

/** Tried for as long as the run lives: the request must not be lost because a database was away. */
const acts = proxyActivities<ExternalUpdateActivities>({
  startToCloseTimeout: '1m',
  heartbeatTimeout: HEARTBEAT_TIMEOUT,
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '1m' },
});

const status = defineQuery<ExternalUpdate | null>('status');
/** Its row has changed: a party has answered, or a newer move has closed it. */
const look = defineSignal('look');
const verbs = Object.fromEntries(
  externalVerbs.map((verb) => [verb, defineUpdate<ExternalUpdate, [SignedExternalVerb]>(verb)]),
) as Record<ExternalVerb, ReturnType<typeof defineUpdate<ExternalUpdate, [SignedExternalVerb]>>>;

/**
 * Follows one request to somebody outside to its end, long after the failover that asked has closed: sends it, sends it
 * again until it is answered, and waits for whoever says that it is done. The row in the survivor's database is the
 * state; this run may be lost and started anew.
 */
export async function externalUpdate(input: ExternalKey): Promise<ExternalUpdate> {
  const follow = new Follower(input);
  follow.listen();
  // A cancel in Temporal UI is nobody's word: `tandem external-update cancel` is signed.
  return CancellationScope.nonCancellable(() => follow.toEnd());
}
setWorkflowOptions({ versioningBehavior: 'AUTO_UPGRADE' }, externalUpdate);

class Follower {
  private readonly key: ExternalKey;
  private seen: FollowedUpdate | null = null;
  private readonly usedNonces = new Set<string>();
  private changes = 0;
  private listed = '';
  /** When the newest message was tried, by this run's clock; null before its first. */
  private triedAt: number | null = null;

  constructor(input: ExternalKey) {
    const { customer, party, epoch } = input ?? {};
    if (typeof customer !== 'string' || typeof party !== 'string' || typeof epoch !== 'number')
      throw failure('input-invalid', `input: ${JSON.stringify(input)}; { customer, party, epoch } is expected`);
    this.key = { customer, party, epoch };
  }

  listen(): void {
    setHandler(status, () => this.seen?.update ?? null);
    setHandler(look, () => void (this.changes += 1));
    for (const verb of externalVerbs) {
      const validator = (v: SignedExternalVerb): void => this.validate(verb, v);
      const handle = (v: SignedExternalVerb): Promise<ExternalUpdate> =>
        CancellationScope.nonCancellable(() => this.settle(v));
      setHandler(verbs[verb], handle, { validator });
    }
  }

  async toEnd(): Promise<ExternalUpdate> {
    const { overtaken } = this.show(await acts['read-external-update'](this.key));
    if (overtaken !== null) await wake(overtaken);
    while (isOpen(this.now.update.state)) {
      const lapsesAt = Date.parse(this.now.update.requestedAt) + LIMIT_MS;
      if (Date.now() >= lapsesAt) await this.settle('lapsed');
      else if (Date.now() >= this.dueAt()) await this.send();
      else await this.wait(Math.min(lapsesAt, this.dueAt()));
      if (workflowInfo().continueAsNewSuggested) {
        await condition(allHandlersFinished);
        await continueAsNew<typeof externalUpdate>(this.key);
      }
    }
    await condition(allHandlersFinished, '1m'); // An answer on its way is given before the run is gone.
    return this.now.update;
  }

  private get now(): FollowedUpdate {
    if (!this.seen) throw failure('input-invalid', 'the request has not been read yet');
    return this.seen;
  }

  /** When the next message is to be sent. One that was acknowledged is not chased: somebody outside is at it. */
  private dueAt(): number {
    const { update, chaseMs } = this.now;
    if (update.state !== 'requested') return Infinity;
    const last = this.triedAt ?? (update.sentAt === null ? null : Date.parse(update.sentAt));
    if (last === null) return 0;
    return last + (update.because === '' ? chaseMs : Math.min(chaseMs, AGAIN_MS));
  }

  private async send(): Promise<void> {
    const n = this.now.update.sent + 1;
    this.show(await acts['send-external-update']({ ...this.key, n }));
    this.triedAt = Date.now();
  }

  private async wait(until: number): Promise<void> {
    const seen = this.changes;
    const timeout = Math.max(1, until - Date.now());
    const woken = await condition(() => this.changes !== seen, timeout, { summary: 'until it is asked again' });
    if (woken) this.show(await acts['read-external-update'](this.key));
  }

  private validate(verb: ExternalVerb, v: SignedExternalVerb): void {
    const { customer, party } = this.key;
    const why =
      v?.verb !== verb
        ? `the update ${verb} takes a signed ${verb}`
        : this.seen
          ? refuseExternal(this.seen, v, { usedNonces: this.usedNonces, now: Date.now() })
          : 'it is just being read: give the same command again';
    if (why !== null) throw ApplicationFailure.nonRetryable(`${customer}, ${party}: ${why}`, 'verb-refused');
  }

  private async settle(word: SignedExternalVerb | 'lapsed'): Promise<ExternalUpdate> {
    if (word !== 'lapsed') this.usedNonces.add(word.nonce);
    const { update } = this.show(await acts['settle-external-update']({ ...this.key, word, now: Date.now() }));
    this.changes += 1;
    return update;
  }

  private show(seen: FollowedUpdate): FollowedUpdate {
    this.seen = seen;
    const { customer, party, option, state, sent, sentAt, requestedAt, because, from, to } = seen.update;
    if (state !== this.listed) {
      upsertSearchAttributes([
        { key: searchAttributes.customer, value: customer },
        { key: searchAttributes.phase, value: state },
      ]);
      this.listed = state;
    }
    setCurrentDetails(
      [
        `**${state}**${because === '' ? '' : ` — ${because}`}`,
        `${party} (${option}) is asked to follow ${customer} from ${from} to ${to}, since ${requestedAt}.`,
        `${sent} messages were sent${sentAt === null ? '' : `, the newest at ${sentAt}`}.`,
        isOpen(state)
          ? `Next: \`tandem external-update done --customer ${customer} --party ${party} --operator ID --key FILE\``
          : 'It has ended.',
      ].join('\n\n'),
    );
    return seen;
  }
}

/** The run of an older request learns at once that it is superseded; without that it finds out when it next looks. */
async function wake(workflowId: string): Promise<void> {
  try {
    await getExternalWorkflowHandle(workflowId).signal(look);
  } catch {
    return; // It has ended, or runs at the other site.
  }
}
