import type { IncomingMessage } from 'node:http';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import type { Client } from '@temporalio/client';
import { Watchers } from '../activities/probes/watch/watchers.ts';
import type { SiteSettings } from '../activities/settings.ts';
import type { SiteActivities } from '../activities/types.ts';
import { taskQueue } from '../workflows/model/names.ts';
import type { TestStanding } from '../workflows/model/test-due.ts';
import { siteActivities } from './activities.ts';
import { beat } from './beat-loop.ts';
import { buildWorkflows, type WorkflowBuild } from './build.ts';
import { Callbacks, wakeBy, type Reply } from './callbacks.ts';
import { SiteGuards } from './closing-loop.ts';
import { watchFilter } from './filter-loop.ts';
import { SteadyHeartbeat } from './heartbeats.ts';
import { serveMetrics, SiteMetrics } from './metrics.ts';
import { prepareSite } from './prepare.ts';
import { watchCoverage } from './coverage-loop.ts';
import { watchCustomers } from './customers/loop.ts';
import { DEPLOYMENT, makeCurrent, standBy } from './current.ts';
import { watchServices } from './probe-loop.ts';
import { sealWhatIsMissing } from './seal-loop.ts';
import { watchStranded } from './stranded-loop.ts';
import { watchTests } from './test-loop.ts';
import { connectClient, pause, prepareNamespace, type TemporalAddress } from './temporal.ts';
import { logLine } from './worker-log.ts';
import { watchSites } from './watch-loop.ts';
import { keepWatching } from './watch-run.ts';

export interface WorkerOptions {
  settings: SiteSettings;
  temporal: TemporalAddress;
  /** `host:port` for /ready and /metrics. */
  listen: string;
  /** Ends the worker: it stops polling, lets activities end, and leaves. */
  signal: AbortSignal;
  say: (line: string) => void;
}

/** An activity that is asked to stop has this long to end what it writes. */
const SHUTDOWN_GRACE = '10s';

/** What the parts of a worker share. */
interface Shared {
  metrics: SiteMetrics;
  watchers: Watchers;
  /** How each customer's yearly test stands. */
  tests: Map<string, TestStanding>;
  /** Why it is not ready; null once it is. */
  missing: string | null;
  callbacks: Callbacks | null;
}

/**
 * Runs one site's worker until the signal. It prepares its site first, also an empty one: schema, epochs, namespace,
 * search attributes, schedules, the deployment's current version. Only then does /ready say so. It watches, and obeys a
 * newer epoch, from the first moment: a site whose Temporal service comes back last is closed all the same.
 */
export async function runWorker(options: WorkerOptions): Promise<void> {
  const { settings, listen, signal, say } = options;
  Runtime.install({
    logger: new DefaultLogger('WARN', (entry) => {
      const line = logLine(entry);
      if (line !== null) say(line);
    }),
  });
  const shared: Shared = {
    metrics: new SiteMetrics(),
    watchers: new Watchers(),
    tests: new Map(),
    missing: 'starting',
    callbacks: null,
  };
  const { metrics, watchers, tests } = shared;
  const answers = async (request: IncomingMessage): Promise<Reply> =>
    shared.callbacks ? shared.callbacks.answer(request) : [404, 'nothing here\n'];
  const http = await serveMetrics(listen, metrics, () => shared.missing, answers);
  const ended = new AbortController();
  const guards = new SiteGuards(settings, metrics, say);
  const watching = watchSites({
    settings,
    metrics,
    watchers,
    tests,
    signal: AbortSignal.any([signal, ended.signal]),
    say,
    onRound: (customer, seen) => guards.decide(customer, seen, signal),
  });
  try {
    await prepareAndWork(options, shared);
  } finally {
    ended.abort();
    await watching;
    await guards.close();
    http.close();
    http.closeAllConnections();
  }
}

async function prepareAndWork({ settings, temporal, signal, say }: WorkerOptions, shared: Shared): Promise<void> {
  const { metrics, watchers, tests } = shared;
  shared.missing = 'bundling the workflows';
  const build = await buildWorkflows();
  metrics.build.set({ site: settings.site, build: build.buildId }, 1);
  shared.missing = `waiting for Temporal at ${temporal.address}`;
  const client = await patiently(() => connectClient(temporal), say, signal);
  shared.missing = 'preparing the site';
  await patiently(() => prepareNamespace(client, temporal.namespace, signal), say, signal);
  await patiently(() => prepareSite(settings, client, say), say, signal);
  if (settings.callbacks !== null) shared.callbacks = new Callbacks(settings, wakeBy(client));
  const worker = await createWorker(settings, temporal, build, siteActivities(settings, undefined, watchers));
  const running = worker.run();
  // Unheard, a failure of the worker would end the process before the line that explains it.
  running.catch(() => undefined);
  shared.missing = 'making this build the current one';
  const own = { namespace: temporal.namespace, deploymentName: DEPLOYMENT, buildId: build.buildId };
  const newer = await Promise.race([running.then(() => null), makeCurrent(client, own, signal)]);
  shared.missing = null;
  say(
    `ready: site ${settings.site}, build ${build.buildId}, queue ${taskQueue(settings.site)}, Temporal ${temporal.address}`,
  );
  if (newer !== null) say(`not current: build ${newer} is newer and is given new runs; this one goes on with its own`);
  const loops = [
    ...[watchCoverage, watchFilter, watchServices, beat, sealWhatIsMissing].map((loop) =>
      loop(settings, metrics, signal, say),
    ),
    keepWatching(client, settings, signal, say),
    watchCustomers(client, settings, signal, say),
    watchStranded(client, settings, metrics, signal, say),
    watchTests({ settings, client, metrics, standings: tests, signal, say }),
  ];
  if (newer !== null) loops.push(standBy(client, own, signal, say));
  await until(signal, worker, running);
  await Promise.all(loops);
  await shared.callbacks?.close();
  await closeClient(client);
}

/** A site's worker, as production and the rig run it. Whoever runs it makes its build current, or it is given nothing. */
export async function createWorker(
  settings: SiteSettings,
  temporal: TemporalAddress,
  build: WorkflowBuild,
  activities: SiteActivities = siteActivities(settings),
): Promise<Worker> {
  const connection = await NativeConnection.connect({ address: temporal.address });
  return Worker.create({
    connection,
    namespace: temporal.namespace,
    taskQueue: taskQueue(settings.site),
    workflowBundle: build.workflowBundle,
    activities,
    interceptors: { activity: [(context) => ({ inbound: new SteadyHeartbeat(context) })] },
    // After a kill -9 the next worker is given the run's tasks after this, not after the default 10 s. Much less, and a
    // busy worker loses the runs that it keeps: each is replayed, which makes it busier.
    stickyQueueScheduleToStartTimeout: '3s',
    shutdownGraceTime: SHUTDOWN_GRACE,
    shutdownForceTime: '30s',
    // Heartbeats may not be held back longer than a third of their time-out.
    maxHeartbeatThrottleInterval: '2s',
    workflowThreadPoolSize: 1,
    // Room for every move of a busy night: one that is not kept is replayed at each step. 1 MiB each or less.
    maxCachedWorkflows: 500,
    workerDeploymentOptions: {
      useWorkerVersioning: true,
      version: { deploymentName: DEPLOYMENT, buildId: build.buildId },
      defaultVersioningBehavior: 'AUTO_UPGRADE',
    },
  });
}

async function until(signal: AbortSignal, worker: Worker, running: Promise<void>): Promise<void> {
  const stop = (): void => worker.shutdown();
  if (signal.aborted) stop();
  else signal.addEventListener('abort', stop, { once: true });
  await running;
}

/** Tries until it works: a worker that starts before its database or its Temporal service waits for them. */
async function patiently<T>(work: () => Promise<T>, say: (line: string) => void, signal: AbortSignal): Promise<T> {
  for (let wait = 250; ; wait = Math.min(2 * wait, 5000)) {
    try {
      return await work();
    } catch (error) {
      if (signal.aborted || isFinal(error)) throw error;
      say(`waiting: ${error instanceof Error ? error.message : String(error)}`);
      await pause(wait, signal);
    }
  }
}

/** A failure that its table calls final, such as a database that belongs to another site, ends the start at once. */
function isFinal(error: unknown): boolean {
  return error instanceof Error && 'nonRetryable' in error && error.nonRetryable === true;
}

async function closeClient(client: Client): Promise<void> {
  await client.connection.close();
}
