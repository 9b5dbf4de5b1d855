import type { Worker } from '@temporalio/worker';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { buildWorkflows } from '../../ops/build.ts';
import { DEPLOYMENT, makeCurrent } from '../../ops/current.ts';
import { createWorker } from '../../ops/worker.ts';
import { openRegion, type Region } from '../rig/region.ts';

let region: Region;
const running: { worker: Worker; run: Promise<void> }[] = [];
beforeAll(async () => {
  region = await openRegion({ users: 2 });
});
afterAll(async () => {
  for (const { worker, run } of running) {
    if (worker.getState() === 'RUNNING') worker.shutdown();
    await run;
  }
  await region.close();
});

const namespace = (): string => region.clients.west.options.namespace;
const claim = (buildId: string, goneMs?: number): Promise<string | null> =>
  makeCurrent(region.clients.west, {
    namespace: namespace(),
    deploymentName: DEPLOYMENT,
    buildId,
    ...(goneMs !== undefined && { goneMs }),
  });

/** A worker of the build, as a machine that starts has it; and what comes of its wish to be the current one. */
async function start(buildId: string): Promise<{ newer: string | null; stop: () => Promise<void> }> {
  const { workflowBundle } = await buildWorkflows();
  const address = inject('stack').sites['west']?.temporalAddress ?? '';
  const worker = await createWorker(
    region.settings.west,
    { address, namespace: namespace() },
    { workflowBundle, buildId },
  );
  const run = worker.run();
  running.push({ worker, run });
  const stop = async (): Promise<void> => {
    worker.shutdown();
    await run;
  };
  return { newer: await claim(buildId), stop };
}

it('an old build that starts again never takes new runs from a newer one that lives', async () => {
  const old = await start('old');
  expect(old.newer).toBeNull();
  const release = await start('release');
  expect(release.newer).toBeNull();
  await old.stop();
  expect((await start('old')).newer).toBe('release');
  expect(await claim('old')).toBe('release');
  expect(await claim('release')).toBeNull();
  // Back to the old one: the workers of the newer one are stopped, and it is gone after a while.
  await release.stop();
  await new Promise((r) => setTimeout(r, 2500));
  expect(await claim('old', 2000)).toBeNull();
});
