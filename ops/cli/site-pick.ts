import type { Command } from 'commander';
import { Database } from '../../activities/contacts/database.ts';
import { forkHere, toldLines } from '../../activities/services/fork.ts';
import { readOperators } from '../../activities/services/operators.ts';
import { askPeerFork } from '../../activities/services/peer-fork.ts';
import { pickByWord, pickWordText } from '../../activities/services/pick-words.ts';
import { linesOf } from '../../workflows/model/fork.ts';
import { Fault } from '../fault.ts';
import { pickCommand } from './closed-lines.ts';
import { exits, type Context } from './print.ts';
import { signedOptions, signedWord, type WordOptions } from './signed-word.ts';
import { customerOf, openConfiguration, siteOf } from './site.ts';

const LIMITS = { connections: 2, connectMs: 5000, statementMs: 10_000 };

interface PickOptions extends WordOptions {
  line: string;
  site?: string;
  customer?: string;
}

export function registerPick(group: Command, context: Context): void {
  const command = group
    .command('pick')
    .description('after two sites claimed one epoch: the line that stands; two operators sign, one of them a commander')
    .requiredOption('--line <site>', 'the site whose line stands')
    .option('--site <site>', 'where the word is given; the picked site when left out. The other one brings it there')
    .option('--customer <id>', 'needed when there is more than one');
  signedOptions(command).action((o: PickOptions) => pick(context, o));
}

async function pick(context: Context, o: PickOptions): Promise<void> {
  const configuration = await openConfiguration(context);
  const { id } = customerOf(configuration, o.customer);
  const at = o.site ?? o.line;
  const settings = await siteOf(configuration, at).settings();
  const own = settings.customers.get(id);
  if (!own) throw new Fault(`customer ${id}: is not at ${at}`, '`tandem config check` lists who is where.');
  const { peer } = own;
  const database = new Database(`database of ${id} at ${at}`, own.databaseUrl, LIMITS);
  try {
    const fork = await forkHere(database, id);
    if (!fork) throw new Fault(`${at}: no fork of ${id} stands there`, 'Nothing to do: `tandem status`.');
    const about = { customer: id, number: fork.number, line: o.line, lines: linesOf(at, peer, fork) };
    if (!Object.hasOwn(about.lines, o.line))
      throw new Fault(`line ${JSON.stringify(o.line)}: ${toldLines(fork)}`, `Name ${at} or ${peer}.`);
    const where = o.site === undefined ? '' : ` --site ${o.site}`;
    const word = await signedWord(context, o, {
      verb: 'site pick',
      about,
      textOf: pickWordText,
      again: `tandem site pick --line ${o.line}${where} --customer ${id}`,
    });
    if (!word) return;
    const told = await askPeerFork(own, database, context.signal);
    const { admitted } = await readOperators(database, settings.operators);
    const hearing = { database, customer: id, peer, operators: admitted };
    const { picked, by } = await pickByWord(hearing, word, told.state === 'says' ? told.words : []);
    const answer = { fork, line: o.line, picked: picked !== null, by };
    if (picked === null) {
      const more = 'it takes two operators, one of them a commander';
      context.out.answer(answer, `Signed for the line of ${o.line} by ${by.join(' and ')}: ${more}.`);
      context.out.next(pickCommand(id, o.line));
      process.exitCode = exits.held;
      return;
    }
    const acts = `the worker of ${o.line} claims epoch ${fork.number + 1} as soon as it sees ${o.line === at ? peer : at}`;
    context.out.answer(answer, `Picked by ${by.join(' and ')}: ${acts}.`);
    context.out.next('tandem status');
  } finally {
    await database.close();
  }
}
