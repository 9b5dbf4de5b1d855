import { createHash, randomBytes } from 'node:crypto';
import { glob, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode, type Logger } from '@temporalio/worker';

export interface WorkflowBuild {
  /** The bundle, as `workflowBundle` of a worker or of a replay takes it. */
  workflowBundle: { code: string };
  /** First 16 hex digits of the bundle's SHA-256: the same code is the same build, on every machine. */
  buildId: string;
}

const root = fileURLToPath(new URL('..', import.meta.url));
const KEPT = join(root, 'node_modules', '.cache', 'tandem', 'workflows');
const quiet = (): void => undefined;
const silent: Logger = { log: quiet, trace: quiet, debug: quiet, info: quiet, warn: quiet, error: quiet };

/**
 * Bundles the workflows. The checkout's own path is taken out first, so that it is no part of the build's identity. What
 * was bundled before from the same files is taken from there: it saves a worker that starts again some seconds.
 */
export async function buildWorkflows(kept = KEPT, bundle = bundled): Promise<WorkflowBuild> {
  const sources = await digestOfSources(root);
  const before = await readKept(kept, sources);
  if (before !== null) return buildOf(before);
  const code = await bundle();
  await keep(kept, sources, code).catch(quiet); // A checkout that may only be read is bundled at each start.
  return buildOf(code);
}

/** Modules are named by their way from the checkout: from where the process was started they would be others, and the build another one. */
async function bundled(): Promise<string> {
  const workflowsPath = `${root}workflows/index.ts`;
  const webpackConfigHook = (config: object) => ({ ...config, context: root });
  return (await bundleWorkflowCode({ workflowsPath, webpackConfigHook, logger: silent })).code;
}

export function buildOf(code: string): WorkflowBuild {
  const portable = withoutSourceMap(code).replaceAll(root, '/');
  return { workflowBundle: { code }, buildId: createHash('sha256').update(portable).digest('hex').slice(0, 16) };
}

/** All that a bundle is made of: the workflows, how they are bundled, the libraries by their lock, the path in its source map. */
export async function digestOfSources(from: string): Promise<string> {
  const files = ['package-lock.json', join('ops', 'build.ts')];
  for await (const file of glob('workflows/**/*.ts', { cwd: from })) files.push(file);
  const digest = createHash('sha256').update(`${from}\0${process.version}`);
  for (const file of files.toSorted()) digest.update(`\0${file}\0`).update(await readFile(join(from, file)));
  return digest.digest('hex');
}

/** Its first line tells what it was made of and what it must be: after a power cut, a file may hold anything. */
const headOf = (sources: string, code: string): string =>
  `${sources} ${createHash('sha256').update(code).digest('hex')}\n`;

async function readKept(file: string, sources: string): Promise<string | null> {
  const text = await readFile(file, 'utf8').catch(() => '');
  const code = text.slice(text.indexOf('\n') + 1);
  return text === headOf(sources, code) + code ? code : null;
}

/** Whole or not at all: others may read it meanwhile. */
async function keep(file: string, sources: string, code: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const half = `${file}.${randomBytes(4).toString('hex')}`;
  await writeFile(half, headOf(sources, code) + code);
  await rename(half, file);
}

/** The inline source map holds absolute paths in base64. */
function withoutSourceMap(code: string): string {
  const at = code.lastIndexOf('//# sourceMappingURL=');
  return at < 0 ? code : code.slice(0, at);
}
