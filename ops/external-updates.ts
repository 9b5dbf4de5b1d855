import { createHash, randomBytes, sign, type KeyObject } from 'node:crypto';
import type { Client } from '@temporalio/client';
import type { Database } from '../activities/contacts/database.ts';
import { readUpdates } from '../activities/notify/updates.ts';
import { SIGNATURE_LIFE_MS } from '../workflows/model/approvals.ts';
import {
  externalText,
  externalUpdateId,
  isOpen,
  type ExternalKey,
  type ExternalUpdate,
  type ExternalVerb,
  type SignedExternalVerb,
} from '../workflows/model/external.ts';
import { failureText } from '../workflows/model/failures.ts';
import { searchAttributes, taskQueue } from '../workflows/model/names.ts';
import { Fault } from './fault.ts';
import { remedyFor } from './refusals.ts';
import { isTemporal } from './temporal-errors.ts';

/** Requests to parties outside, as operators, a starting worker and tests see them. */

/**
 * Starts the run of every open request of this site that has none: after a Temporal service was lost, or somebody ended it.
 * The row says what was sent; nothing is sent a second time. Answers the ids of those it started.
 */
export async function followOpenUpdates(
  client: Client,
  site: string,
  database: Database,
  customer: string,
): Promise<string[]> {
  const rows = await database.connection((c) => readUpdates(c, customer));
  const started: string[] = [];
  for (const { party, epoch } of rows.filter((u) => isOpen(u.state) && u.to === site)) {
    const key: ExternalKey = { customer, party, epoch };
    try {
      await client.workflow.start('external-update', {
        workflowId: externalUpdateId(key),
        taskQueue: taskQueue(site),
        args: [key],
        typedSearchAttributes: [{ key: searchAttributes.customer, value: customer }],
        staticSummary: `${customer}: ${party} is asked to change its configuration`,
      });
      started.push(externalUpdateId(key));
    } catch (error) {
      if (!isTemporal(error, 'WorkflowExecutionAlreadyStartedError')) throw error;
    }
  }
  return started;
}

/** Signs an operator's word on a request, over what he has read of it. */
export function signExternal(
  update: ExternalUpdate,
  {
    verb,
    operator,
    key,
    because,
    now = Date.now(),
  }: { verb: ExternalVerb; operator: string; key: KeyObject; because?: string; now?: number },
): SignedExternalVerb {
  const v = {
    verb,
    operator,
    ...(because !== undefined && { because }),
    nonce: randomBytes(16).toString('hex'),
    expires: new Date(now + SIGNATURE_LIFE_MS).toISOString(),
  };
  return { ...v, signature: sign(null, Buffer.from(externalText(update, v)), key).toString('hex') };
}

/** Sends it to the request's run. The update's id is the hash of what was signed: an answer that got lost is not taken twice. */
export async function sendExternal(
  client: Client,
  update: ExternalUpdate,
  v: SignedExternalVerb,
): Promise<ExternalUpdate> {
  const updateId = createHash('sha256').update(JSON.stringify(v)).digest('hex');
  try {
    return await client.workflow
      .getHandle(externalUpdateId(update))
      .executeUpdate<ExternalUpdate, [SignedExternalVerb]>(v.verb, { args: [v], updateId });
  } catch (error) {
    if (isTemporal(error, 'WorkflowUpdateFailedError')) {
      const reason = failureText(error);
      throw new Fault(
        `${v.verb} refused: ${reason}`,
        remedyFor(reason) ?? '`tandem external-update list` shows how it stands.',
      );
    }
    if (isTemporal(error, 'WorkflowNotFoundError'))
      throw new Fault(
        `request to ${update.party}: its run is not there`,
        'The worker of this site starts it again when it starts; then give the same command again.',
      );
    throw error;
  }
}
