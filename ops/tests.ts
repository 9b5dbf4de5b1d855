import { createHash, randomBytes } from 'node:crypto';
import type { Client, WorkflowHandle } from '@temporalio/client';
import type { ContinuityTestResult } from '../workflows/continuity-test.ts';
import { SIGNATURE_LIFE_MS } from '../workflows/model/approvals.ts';
import type { ContinuityTestInput, TestStatus } from '../workflows/model/continuity.ts';
import { failureText } from '../workflows/model/failures.ts';
import { scheduleIds, searchAttributes, taskQueue } from '../workflows/model/names.ts';
import { testText, type SignedTestVerb, type TestVerb } from '../workflows/model/test-words.ts';
import { Fault } from './fault.ts';
import { remedyFor } from './refusals.ts';
import { isTemporal } from './temporal-errors.ts';

/** Continuity tests, as operators and tests drive them. */

type TestWorkflow = (test: ContinuityTestInput) => Promise<ContinuityTestResult>;
export type TestHandle = WorkflowHandle<TestWorkflow>;
export type TestOptions = Partial<
  Pick<ContinuityTestInput, 'kind' | 'cohort' | 'despiteBlackout' | 'page' | 'confirmWithinMs'>
>;

/** Begins a continuity test at a site now, whosever turn it is. */
export async function beginTest(
  client: Client,
  site: string,
  customer: string,
  { kind = 'isolated', ...options }: TestOptions = {},
): Promise<TestHandle> {
  return client.workflow.start<TestWorkflow>('continuity-test', {
    workflowId: `${scheduleIds.continuityTest(customer)}/now-${new Date().toISOString().slice(0, 23)}`,
    taskQueue: taskQueue(site),
    args: [{ customer, kind, startedBy: 'operator', ...options }],
    typedSearchAttributes: [{ key: searchAttributes.customer, value: customer }],
    workflowExecutionTimeout: '12h',
    staticSummary: `continuity test of ${customer} at ${site}, ${kind}`,
  });
}

/** What it came to; a test that failed, or was refused, is a fault that says why. */
export async function endOfTest(handle: TestHandle, customer: string): Promise<ContinuityTestResult> {
  try {
    return await handle.result();
  } catch (error) {
    if (!isTemporal(error, 'WorkflowFailedError')) throw error;
    throw new Fault(
      `continuity test of ${customer}: ${failureText(error.cause)}`,
      adviceOf(error) ?? `\`tandem test report --customer ${customer}\` shows what was found.`,
    );
  }
}

/** Holds a continuity test at a site now, and waits for its receipt. */
export async function startTest(
  client: Client,
  site: string,
  customer: string,
  options: TestOptions = {},
): Promise<ContinuityTestResult> {
  return endOfTest(await beginTest(client, site, customer, options), customer);
}

/** What a failure says is to be done. */
function adviceOf(error: Error): string | null {
  for (let e: unknown = error; e instanceof Error; e = e.cause) {
    const details = 'details' in e && Array.isArray(e.details) ? (e.details as { try?: unknown }[]) : [];
    if (typeof details[0]?.try === 'string') return details[0].try;
  }
  return null;
}

/** The tests of a customer that run at a site now, those that are put off included. */
export async function runningTests(
  client: Client,
  customer: string,
): Promise<{ handle: TestHandle; status: TestStatus }[]> {
  const found: { handle: TestHandle; status: TestStatus }[] = [];
  const query = `WorkflowType = 'continuity-test' and ExecutionStatus = 'Running' and TandemCustomer = '${customer}'`;
  for await (const { workflowId, runId } of client.workflow.list({ query })) {
    const handle = client.workflow.getHandle<TestWorkflow>(workflowId, runId);
    // One that ended a moment ago is listed still.
    const status = await handle.query<TestStatus>('status').catch(() => null);
    if (status && status.phase !== 'ended') found.push({ handle, status });
  }
  return found;
}

export interface TestDraft {
  verb: TestVerb;
  operator: string;
  step?: string;
  because?: string;
  /** Now, by the run's clock, in ms. */
  now?: number;
}

/** Signs an operator's word to a test, over what he has read of it. */
export async function signTest(
  status: TestStatus,
  { now = Date.now(), ...draft }: TestDraft,
  sign: (text: string) => Promise<string>,
): Promise<SignedTestVerb> {
  const v = {
    ...draft,
    nonce: randomBytes(16).toString('hex'),
    expires: new Date(now + SIGNATURE_LIFE_MS).toISOString(),
  };
  return { ...v, signature: await sign(testText(status, v)) };
}

/** Sends it. The update's id is the hash of what was signed: an answer that got lost is not taken twice. */
export async function tellTest(handle: TestHandle, v: SignedTestVerb): Promise<TestStatus> {
  const updateId = createHash('sha256').update(JSON.stringify(v)).digest('hex');
  try {
    return await handle.executeUpdate<TestStatus, [SignedTestVerb]>(v.verb, { args: [v], updateId });
  } catch (error) {
    const next = '`tandem test list` shows what runs and what is asked.';
    if (isTemporal(error, 'WorkflowUpdateFailedError')) {
      const reason = failureText(error);
      throw new Fault(`${v.verb} refused: ${reason}`, remedyFor(reason) ?? next);
    }
    if (isTemporal(error, 'WorkflowNotFoundError')) throw new Fault(`${v.verb} refused: the test is over`, next);
    throw error;
  }
}
