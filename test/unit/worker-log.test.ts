import { describe, expect, it } from 'vitest';
import { logLine } from '../../ops/worker-log.ts';
import { failure } from '../../workflows/model/failures.ts';

describe('the log of a worker', () => {
  it('says nothing of a watch that the next worker goes on with', () => {
    const error = failure('worker-ends', 'watch of contoso: the process that looks is about to end');
    expect(logLine({ level: 'WARN', message: 'Activity failed', meta: { activityType: 'watch', error } })).toBeNull();
  });

  it('tells all other failures in their own words, and what has none as it is', () => {
    const error = failure('vault-unreachable', 'vault east: does not answer');
    const meta = { activityType: 'pull-snapshots', error };
    expect(logLine({ level: 'WARN', message: 'Activity failed', meta })).toBe(
      'WARN Activity failed {"activityType":"pull-snapshots","error":"vault east: does not answer"}',
    );
    const bug = { level: 'WARN', message: 'Activity failed', meta: { error: new TypeError('no such thing') } } as const;
    expect(logLine(bug)).toMatch(/TypeError: no such thing\\n +at .*worker-log\.test\.ts/);
    expect(logLine({ level: 'ERROR', message: 'no connection' })).toBe('ERROR no connection');
    expect(logLine({ level: 'WARN', message: 'slow', meta: { ms: 3 } })).toBe('WARN slow {"ms":3}');
  });
});
