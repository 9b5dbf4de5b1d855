import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { Command } from 'commander';
import { channelOf } from '../../activities/notify/channels.ts';
import { failureText } from '../../workflows/model/failures.ts';
import { Fault } from '../fault.ts';
import { exits, table, type Context } from './print.ts';
import { openConfiguration, siteOf } from './site.ts';

export function register(program: Command, context: Context): void {
  const group = program.command('notify').description('the ways to people and machines outside');
  group
    .command('test')
    .description('send a message through a channel, as a worker of the site would')
    .requiredOption('--site <site>', 'whose channels')
    .option('--channel <name>', 'only this one')
    .action((o: { site: string; channel?: string }) => test(context, o));
}

async function test(context: Context, { site, channel }: { site: string; channel?: string }): Promise<void> {
  const settings = await siteOf(await openConfiguration(context), site).settings();
  const names = channel === undefined ? [...settings.channels.keys()] : [channel];
  if (names.length === 0)
    throw new Fault(
      `channels of ${site}: none is configured`,
      `Add \`sites.${site}.channels\`, and name in \`sites.${site}.paging\` those by which people are paged.`,
    );
  const tried = await Promise.all(
    names.map(async (name) => {
      const open = channelOf(settings, name);
      const paged = settings.paging.includes(name);
      try {
        await open.send(message(site, name), context.signal);
        return { channel: name, paged, accepted: true, because: '' };
      } catch (error) {
        return { channel: name, paged, accepted: false, because: failureText(error) };
      }
    }),
  );
  context.out.answer(
    tried,
    table(tried.map((t) => [t.channel, t.paged ? 'pages' : '-', t.accepted ? 'accepted' : `NOT SENT: ${t.because}`])),
  );
  if (tried.some((t) => !t.accepted)) process.exitCode = exits.failed;
}

const message = (site: string, name: string) => ({
  key: `test/${site}/${name}/${randomUUID()}`,
  subject: `Tandem: a test of channel ${name} of site ${site}`,
  text: `This is a test from ${hostname()}. Nothing has happened, nobody has to do anything.\n`,
  customer: '',
  move: null,
  severity: 'info' as const,
});
