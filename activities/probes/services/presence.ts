import type { Facts } from './port.ts';
import type { ProbeRun } from './run.ts';
import type { Stanza } from './session.ts';

/** Contacts see each other come and go. Nothing but their contact lists, as restored, lets them. */
export async function presence(run: ProbeRun): Promise<Facts> {
  const { first, second } = run.order.accounts;
  const watcher = await run.signIn('account 1', first, { available: true });
  const watched = await run.signIn('account 2', second, { available: true });
  const { jid } = watched;
  const of = (stanza: Stanza, type: string | undefined): boolean =>
    stanza.is('presence') && stanza.attrs['from'] === jid && stanza.attrs['type'] === type;
  await run.hears(watcher, 'account 1 to see account 2 come', (stanza) => of(stanza, undefined));
  await run.hears(
    watched,
    'account 2 to see account 1',
    (stanza) => stanza.is('presence') && stanza.attrs['from'] === watcher.jid,
  );
  await run.expect('the stream of account 2 to be closed', () => watched.close());
  await run.hears(watcher, 'account 1 to see account 2 go', (stanza) => of(stanza, 'unavailable'));
  return {};
}
