import type { Command } from 'commander';
import { duration } from '../../workflows/model/rto.ts';
import { CUSTOMER } from '../embedded/configuration.ts';
import { down, reset, status } from '../embedded/control.ts';
import { up } from '../embedded/stack.ts';
import { exits, table, type Context } from './print.ts';

export function register(program: Command, { out, state }: Context): void {
  const dev = program.command('dev').description('the embedded two-site stack, on loopback');

  dev
    .command('up')
    .description('start what is not running yet')
    .action(async () => {
      const started = Date.now();
      const stack = await up({ folder: state(), workers: true, say: (line) => out.say(`  ${line}`) });
      const uis = Object.fromEntries(Object.entries(stack.sites).map(([site, at]) => [site, at.uiUrl]));
      const lines = Object.entries(uis).map(
        ([site, url]) => `  ${site}: Temporal UI ${url}/namespaces/tandem/workflows`,
      );
      out.answer({ folder: stack.folder, configuration: stack.configuration, uis, ms: Date.now() - started }, [
        `Two sites are up after ${duration(Date.now() - started)}; configuration ${stack.configuration}, customer ${CUSTOMER}.`,
        ...lines,
      ]);
      out.next('tandem status');
    });

  dev
    .command('down')
    .description('stop everything that is left of it, in order')
    .action(async () => {
      const stopped = await down(state());
      out.answer({ stopped }, stopped === 0 ? 'Nothing was running.' : `Stopped ${stopped} processes.`);
    });

  dev
    .command('status')
    .description('what runs, where, and its log')
    .action(async () => {
      const processes = await status(state());
      const rows = processes.map((p) => [
        `${p.site}/${p.name}`,
        p.state,
        p.pid === null ? '-' : String(p.pid),
        String(p.port),
        p.log,
      ]);
      out.answer(
        processes,
        processes.length === 0
          ? 'No stack was ever started here.'
          : table([['process', 'state', 'pid', 'port', 'log'], ...rows]),
      );
      const healthy = processes.length > 0 && processes.every((p) => p.state === 'running');
      if (!healthy) out.next('tandem dev up');
      process.exitCode = healthy ? exits.done : exits.failed;
    });

  dev
    .command('reset')
    .description('stop it and delete all it kept')
    .action(async () => {
      await reset(state());
      out.answer({ deleted: state() }, `Deleted ${state()}.`);
    });
}
