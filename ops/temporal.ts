import { connect } from 'node:net';
import type { Client, Connection } from '@temporalio/client';
import { searchAttributes } from '../workflows/model/names.ts';
import { Fault } from './fault.ts';

export interface TemporalAddress {
  address: string;
  namespace: string;
}

/** gRPC calls a port that refuses again and again until the time is over: a lost site need not be waited for. */
async function requireOpen(address: string, timeoutMs: number): Promise<void> {
  const { hostname, port } = new URL(`tcp://${address}`);
  const socket = connect({ host: hostname, port: Number(port), timeout: timeoutMs });
  try {
    await new Promise<void>((resolve, reject) => {
      const silent = (): void => reject(new Error(`no answer within ${timeoutMs / 1000} s`));
      socket.once('connect', resolve).once('timeout', silent).once('error', reject);
    });
  } finally {
    socket.destroy();
  }
}

/** A client, or one clear error within `timeoutMs`, at once where the port is closed. */
export async function connectClient({ address, namespace }: TemporalAddress, timeoutMs = 5000): Promise<Client> {
  let what = 'cannot be reached';
  try {
    await requireOpen(address, timeoutMs);
    what = `no answer within ${timeoutMs / 1000} s`;
    // Loaded here: most of what a command takes would else be to load what it may not use.
    const library = await import('@temporalio/client');
    const connection = await library.Connection.connect({ address, connectTimeout: timeoutMs });
    return new library.Client({ connection, namespace });
  } catch (error) {
    throw new Fault(
      `Temporal at ${address}: ${what} (${error instanceof Error ? error.message : String(error)})`,
      '`tandem dev status` shows what runs in the embedded stack; its log tells why not.',
    );
  }
}

/** Waits `ms`, or until the signal says to stop. */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(done, ms);
    function done(): void {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    }
    if (signal?.aborted) done();
    else signal?.addEventListener('abort', done);
  });
}

const RETENTION_SECONDS = 30 * 86_400;
const ALREADY_EXISTS = 6;

export function grpcCode(error: unknown): number | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'number' ? error.code : undefined;
}

/** Prepares an empty Temporal service, or finds it prepared: namespace and search attributes. Returns once both can be used. */
export async function prepareNamespace(client: Client, namespace: string, signal?: AbortSignal): Promise<void> {
  const { workflowService, operatorService } = client.connection as Connection;
  try {
    await workflowService.registerNamespace({
      namespace,
      workflowExecutionRetentionPeriod: { seconds: RETENTION_SECONDS as never },
    });
  } catch (error) {
    if (grpcCode(error) !== ALREADY_EXISTS) throw error;
  }
  const wanted = Object.values(searchAttributes).map((key) => key.name);
  const { default: proto } = await import('@temporalio/proto');
  const KEYWORD = proto.temporal.api.enums.v1.IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD;
  for (let attempt = 0; ; attempt += 1) {
    try {
      const { customAttributes } = await operatorService.listSearchAttributes({ namespace });
      const missing = wanted.filter((name) => !(name in (customAttributes ?? {})));
      if (missing.length === 0) return;
      await operatorService.addSearchAttributes({
        namespace,
        searchAttributes: Object.fromEntries(missing.map((name) => [name, KEYWORD])),
      });
    } catch (error) {
      // A namespace just registered is unknown to other parts of the service for a moment.
      if (signal?.aborted || attempt > 100) throw error;
    }
    await pause(100, signal);
  }
}
