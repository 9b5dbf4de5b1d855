import { parseArgs, type ParseArgsConfig } from 'node:util';

/** The options of one of the slow scripts; a wrong one ends it before anything starts. */
export function optionsOf<T extends ParseArgsConfig>(
  script: string,
  config: T,
): ReturnType<typeof parseArgs<T>>['values'] {
  try {
    return parseArgs(config).values;
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    process.stderr.write(`Error: ${text.split('. ')[0]}\nTry: npm run ${script} -- --help\n`);
    return process.exit(2);
  }
}
