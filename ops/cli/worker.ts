import type { Command } from 'commander';
import { runWorker } from '../worker.ts';
import type { Context } from './print.ts';
import { openConfiguration, siteOf } from './site.ts';

export function register(program: Command, context: Context): void {
  program
    .command('worker')
    .description("run one site's worker until Ctrl-C; it prepares the site first, also an empty one")
    .requiredOption('--site <site>', 'whose worker')
    // Also here, so that it may stand behind the verb.
    .option('--config <file>', 'tandem.yaml')
    .action(async ({ site }: { site: string }) => {
      const at = siteOf(await openConfiguration(context), site);
      const say = (line: string): void => {
        process.stdout.write(`${new Date().toISOString()} ${line}\n`);
      };
      await runWorker({
        settings: await at.settings(),
        temporal: at.site.temporal,
        listen: at.site.listen,
        signal: context.signal,
        say,
      });
    });
}
