import { relative } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/**
 * What takes longest, and begins first: one that begins last is waited for while the machine has nothing else to do. Those that compute
 * stand between those that wait.
 */
export const first = [
  'test/faults/worker-killed.test.ts',
  'test/probes/faults.test.ts',
  'test/bench/bench.test.ts',
  'test/faults/postgres-restarted.test.ts',
  'test/probes/services.test.ts',
  'test/embedded/whole.test.ts',
  'test/reference-service/two-sites.test.ts',
  'test/workflows/stability.test.ts',
  'test/reference-service/filtered.test.ts',
  'test/faults/kill-walk.test.ts',
  'test/workflows/rto.test.ts',
  'test/week/week.test.ts',
  'test/workflows/relocate.test.ts',
  'test/failover-acts/claims.test.ts',
  'test/cli/cli.test.ts',
  'test/watch/obey.test.ts',
  'test/cli/snapshot.test.ts',
  'test/reference-service/third-party.test.ts',
  'test/workflows/releases.test.ts',
  'test/faults/disk-full.test.ts',
  'test/embedded/stack.test.ts',
  'test/reference-service/entitlement.test.ts',
  'test/workflows/temporal-ui.test.ts',
  'test/workflows/random.test.ts',
  'test/workflows/replay.test.ts',
  'test/reference-service/proxy.test.ts',
  'test/workflows/continuity.test.ts',
  'test/workflows/watch.test.ts',
  'test/vault/retention-doubt.test.ts',
  'test/workflows/resume.test.ts',
  'test/vault/repair.test.ts',
];

/**
 * Files that have a process of their own: what they do to servers, to the machine or to processes must not touch another file's, or what
 * they measure must not be touched. All others are run by processes that run many of them, one after the other: most of a
 * short file's work is to load what it tests. They leave nothing in the process: no variable of its environment, no clock, no
 * handler.
 */
export const apart = [
  'test/bench/*.test.ts',
  'test/embedded/*.test.ts',
  'test/faults/*.test.ts',
  'test/journal/mirror.test.ts',
  'test/mover/*.test.ts',
  'test/people/*.test.ts',
  'test/probes/*.test.ts',
  'test/reference-service/*.test.ts',
  // It installs the runtime of Temporal, which a process has once.
  'test/watch/worker.test.ts',
  'test/week/*.test.ts',
];

/** The others come as Vitest has them: the longest first of those that it has seen run, else the largest. */
export class Order extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const row = ({ project }: TestSpecification): number => (project.config.isolate ? 0 : 1);
    const rank = ({ moduleId }: TestSpecification): number => {
      const at = first.indexOf(relative(this.ctx.config.root, moduleId));
      return at < 0 ? first.length : at;
    };
    // oxlint-disable-next-line unicorn/no-array-sort -- It is Vitest's, and not an array's.
    const all = await super.sort(files);
    // A process goes on to the next file only where that is one of those that share: they come in one row.
    return all.toSorted((a, b) => row(a) - row(b) || rank(a) - rank(b));
  }
}
