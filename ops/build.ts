import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode, type Logger } from '@temporalio/worker';

export interface WorkflowBuild {
  /** The bundle, as `workflowBundle` of a worker or of a replay takes it. */
  workflowBundle: { code: string };
  /** First 16 hex digits of the bundle's SHA-256: the same code is the same build, on every machine. */
  buildId: string;
}

const root = fileURLToPath(new URL('..', import.meta.url));
const quiet = (): void => undefined;
const silent: Logger = { log: quiet, trace: quiet, debug: quiet, info: quiet, warn: quiet, error: quiet };

/** Bundles the workflows. The checkout's own path is taken out first, so that it is no part of the build's identity. */
export async function buildWorkflows(): Promise<WorkflowBuild> {
  const { code } = await bundleWorkflowCode({ workflowsPath: `${root}workflows/index.ts`, logger: silent });
  return buildOf(code);
}

export function buildOf(code: string): WorkflowBuild {
  const portable = withoutSourceMap(code).replaceAll(root, '/');
  return { workflowBundle: { code }, buildId: createHash('sha256').update(portable).digest('hex').slice(0, 16) };
}

/** The inline source map holds absolute paths in base64. */
function withoutSourceMap(code: string): string {
  const at = code.lastIndexOf('//# sourceMappingURL=');
  return at < 0 ? code : code.slice(0, at);
}
