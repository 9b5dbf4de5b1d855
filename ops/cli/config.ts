import type { Command } from 'commander';
import { duration } from '../../workflows/model/rto.ts';
import { readConfiguration, type CustomerConfiguration, type SiteConfiguration } from '../config/configuration.ts';
import { sitesHere } from '../config/here.ts';
import { settingsFor } from '../config/settings.ts';
import { together } from '../config/together.ts';
import { foreignIds } from '../customers/identity.ts';
import { Fault } from '../fault.ts';
import { operatorWarnings, tooFewKeys } from '../operators.ts';
import { runbookFaults } from '../runbooks.ts';
import type { Context } from './print.ts';

export function register(program: Command, { out, config }: Context): void {
  const group = program.command('config').description('the configuration');
  group
    .command('check')
    .description('read it whole and say what was understood, or everything that is wrong')
    .option(
      '--site <site>',
      "that site's secrets must be on this machine (default: those of every site that has its signing key here)",
    )
    .action(async ({ site }: { site?: string }) => {
      const configuration = await readConfiguration(config());
      const faults = await runbookFaults(configuration);
      if (faults.length > 0)
        throw new Fault(
          `runbooks of ${configuration.file}: ${faults.length} ${faults.length === 1 ? 'fault' : 'faults'}\n${faults.map((f) => `  ${f}`).join('\n')}`,
          'A plan is made from what lies there when it is made: correct it at both sites.',
        );
      const here = site === undefined ? await sitesHere(configuration) : [site];
      const settings = await together(here.map((name) => settingsFor(configuration, name, { reportsFolder: '' })));
      const foreign = (await Promise.all(settings.map(foreignIds))).flat();
      if (foreign.length > 0)
        throw new Fault(
          `${configuration.file}: ${foreign.join('\n  ')}`,
          'Give each customer back the id and the domain that it was added with: neither ever changes.',
        );
      const elsewhere = [...configuration.sites.keys()].filter((name) => !here.includes(name));
      const customers = [...configuration.customers.values()];
      const few = tooFewKeys(configuration.operators, Date.now());
      if (few !== null)
        throw new Fault(
          `${configuration.file}: ${few}`,
          '`tandem keys new operator --id ID --out FILE` makes the next key; a later `expires` is a change as well.',
        );
      const operators = configuration.operators.map(({ id, roles, expires }) => ({ id, roles, expires }));
      out.answer(
        {
          file: configuration.file,
          sites: [...configuration.sites.keys()],
          customers: customers.map(({ id, sites }) => ({ id, sites })),
          operators,
          secretsOf: here,
        },
        [
          `${configuration.file}: no faults.`,
          ...[...configuration.sites.values()].map(
            (s) =>
              `site ${s.site}: Temporal ${s.temporal.address}, vault ${s.vault.endpoint}/${s.vault.bucket}${outside(s)}`,
          ),
          ...customers.flatMap(describe),
          ...operators.map((o) => `operator ${o.id}: ${o.roles.join(', ')}${o.expires ? `, until ${o.expires}` : ''}`),
          ...operatorWarnings(configuration.operators, Date.now()).map(
            (w) => `warning: operator ${w.operator}: ${w.text}`,
          ),
          ...here.map((name) => `The secrets of ${name} can be read.`),
          ...(site === undefined ? elsewhere.map(noKey) : []),
        ],
      );
    });
}

const noKey = (site: string): string =>
  `The secrets of ${site} were not looked at: its signing key is not on this machine.`;

function describe(c: CustomerConfiguration): string[] {
  const { everyMs, betweenMs, budgetMs } = c.snapshots;
  return [
    `customer ${c.id}: ${c.domain} at ${c.sites.join(' and ')}, options ${c.options.join(', ') || 'none'}`,
    `  RPO ${duration(c.objectives.rpoMs)}, RTO ${duration(c.objectives.rtoMs)}; target RTO ${duration(c.target.rtoMs)}`,
    `  snapshots every ${duration(everyMs)}, between every ${duration(betweenMs)}, budget ${duration(budgetMs)}`,
    `  self-fence ${c.selfFenceMs === null ? 'off: a site that is only cut off goes on serving whoever still reaches it' : duration(c.selfFenceMs)}`,
    ...[...c.runbooks].map(([kind, { file }]) => `  its own runbook for ${kind}: ${file}`),
  ];
}

const outside = ({ requests, commands }: SiteConfiguration): string =>
  requests.size + commands.size > 0 ? `; may ask ${[...requests.keys(), ...commands.keys()].join(', ')}` : '';
