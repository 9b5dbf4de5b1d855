import type { Command } from 'commander';
import { Database } from '../../activities/contacts/database.ts';
import { closingOf, lastOpening } from '../../activities/services/closed.ts';
import { forkHere } from '../../activities/services/fork.ts';
import { askRights } from '../../activities/services/obeyed.ts';
import { readOperators } from '../../activities/services/operators.ts';
import { askPeerRights } from '../../activities/services/peer-rights.ts';
import {
  closeByWord,
  newClosing,
  openByWord,
  readStanding,
  signedBy,
  siteWordText,
  type SiteWord,
} from '../../activities/services/site-words.ts';
import type { CustomerSettings, SiteSettings } from '../../activities/settings.ts';
import type { Closing } from '../../workflows/model/closing.ts';
import { whyNotByWord, type OwnRights, type PeerRights } from '../../workflows/model/opening.ts';
import { Fault } from '../fault.ts';
import { closedLine, forkLine, openedLine, openCommand, pickCommand } from './closed-lines.ts';
import { exits, type Context } from './print.ts';
import { signedOptions, signedWord, type WordOptions } from './signed-word.ts';
import { registerPick } from './site-pick.ts';
import { registerSalvage } from './site-salvage.ts';
import { customerOf, openConfiguration, siteOf } from './site.ts';

interface Where {
  site: string;
  customer?: string;
}

type SiteWordOptions = Where & WordOptions;

const LIMITS = { connections: 2, connectMs: 5000, statementMs: 10_000 };

export function register(program: Command, context: Context): void {
  const group = program
    .command('site')
    .description('a site that is closed, whatever its rows say, or that came back, or holds what its peer holds');
  const verb = (name: string, about: string): Command =>
    group
      .command(name)
      .description(about)
      .requiredOption('--site <site>', 'which site')
      .option('--customer <id>', 'needed when there is more than one');
  verb('status', 'whether it is closed, since when and why, and what opens it').action((o: Where) =>
    status(context, o),
  );
  signedOptions(verb('open', 'open a site that closed itself: two operators sign, one of them a commander')).action(
    (o: SiteWordOptions) => open(context, o),
  );
  signedOptions(verb('close', 'close a site; one operator signs, two open it again')).action((o: SiteWordOptions) =>
    close(context, o),
  );
  registerPick(group, context);
  registerSalvage(group, context);
}

interface Place {
  id: string;
  settings: SiteSettings;
  own: CustomerSettings;
  database: Database;
}

async function within<T>(context: Context, o: Where, work: (place: Place) => Promise<T>): Promise<T> {
  const configuration = await openConfiguration(context);
  const { id } = customerOf(configuration, o.customer);
  const settings = await siteOf(configuration, o.site).settings();
  const own = settings.customers.get(id);
  if (!own) throw new Fault(`customer ${id}: is not at ${o.site}`, '`tandem config check` lists who is where.');
  const database = new Database(`database of ${id} at ${o.site}`, own.databaseUrl, LIMITS);
  try {
    return await work({ id, settings, own, database });
  } finally {
    await database.close();
  }
}

async function status(context: Context, o: Where): Promise<void> {
  await within(context, o, async ({ id, database }) => {
    const [closing, last] = [await closingOf(database, id), await lastOpening(database, id)];
    const by = closing ? await signedBy(database, closing) : [];
    const fork = await forkHere(database, id);
    context.out.answer({ site: o.site, customer: id, closed: closing, signedBy: by, lastOpening: last, fork }, [
      closing ? closedLine(o.site, id, closing) : `${o.site} is open for ${id}.`,
      ...(by.length > 0 ? [`Signed to open it: ${by.join(', ')}.`] : []),
      ...(last ? [openedLine(last)] : []),
      ...(fork ? [forkLine(o.site, id, fork)] : []),
    ]);
    if (!closing && !fork) return;
    context.out.next(closing && !fork ? openCommand(o.site, id, closing) : pickCommand(id));
    process.exitCode = exits.held;
  });
}

async function open(context: Context, o: SiteWordOptions): Promise<void> {
  await within(context, o, async ({ id, settings, own, database }) => {
    const standing = await readStanding(database, id);
    const { closing } = standing;
    if (!closing) throw new Fault(`${o.site}: is not closed to ${id}`, 'Nothing to do: `tandem status`.');
    const peer = await askPeerRights(own, database, context.signal);
    refuseEarly({ ...standing, closing }, peer, own);
    const word = await wordOf(context, o, { verb: 'open', customer: id, own: standing.own, closing: closing.id });
    if (!word) return;
    const { admitted } = await readOperators(database, settings.operators);
    const { opened, by } = await openByWord({ database, customer: id, operators: admitted }, word, peer);
    if (!opened) {
      context.out.answer({ opened, by, closing }, [
        `Signed by ${by.join(' and ')}; ${o.site} stays closed to ${id}: it takes two operators, one of them a commander.`,
      ]);
      context.out.next(openCommand(o.site, id, closing));
      process.exitCode = exits.held;
      return;
    }
    await askRights(settings, own, o.site, context.signal);
    context.out.answer({ opened, by, closing }, `Opened by ${by.join(' and ')}: ${o.site} serves ${id} again.`);
    context.out.next('tandem status');
  });
}

/** Before anybody is asked for his key. It is judged once more in the moment it opens. */
function refuseEarly(
  { closing, own }: { closing: Closing; own: OwnRights },
  peer: PeerRights,
  { id }: CustomerSettings,
): void {
  const why = whyNotByWord(closing.kind, own, peer);
  if (why === null) return;
  throw new Fault(
    `${own.site}: stays closed to ${id}: ${why}`,
    closing.kind === 'fork'
      ? '`tandem status` shows both lines, `tandem site pick` says which one stands.'
      : 'Whom the other site serves is not to be served here: `tandem status`; users are brought here by a move.',
  );
}

async function close(context: Context, o: SiteWordOptions): Promise<void> {
  await within(context, o, async ({ id, settings, own, database }) => {
    const standing = await readStanding(database, id);
    if (standing.closing)
      throw new Fault(
        `${o.site}: is closed to ${id} already, since ${standing.closing.since}`,
        '`tandem site status` says why.',
      );
    const word = await wordOf(context, o, { verb: 'close', customer: id, own: standing.own, closing: newClosing() });
    if (!word) return;
    const { admitted } = await readOperators(database, settings.operators);
    const closing = await closeByWord({ database, customer: id, operators: admitted }, word);
    await askRights(settings, own, o.site, context.signal);
    context.out.answer({ closed: closing }, `Closed by ${word.operator}: ${o.site} serves nobody of ${id}.`);
    context.out.next(openCommand(o.site, id, closing));
  });
}

interface About {
  verb: SiteWord['verb'];
  customer: string;
  own: OwnRights;
  closing: string;
}

const wordOf = (
  context: Context,
  o: WordOptions,
  { verb, customer, own: { site, epoch }, closing }: About,
): Promise<SiteWord | null> =>
  signedWord(context, o, {
    verb: `site ${verb}`,
    about: { verb, customer, site, closing, epoch: epoch.number },
    textOf: siteWordText,
    again: `tandem site ${verb} --site ${site} --customer ${customer}`,
  });
