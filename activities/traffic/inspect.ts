import { failureKind, failures, failureText } from '../../workflows/model/failures.ts';
import type { CustomerSettings, SiteSettings } from '../settings.ts';
import type { Finding } from '../vault/bucket.ts';
import { switchesOf } from './act.ts';

const names = { 'shift-dns': 'name server', 'shift-proxy': 'proxy' } as const;

/**
 * What this site would lead users by, asked as a plan asks it: a key that is refused, a ttl that is too long or a socket that may only look
 * is found before a loss. Changes nothing; without any configured there is nothing to be found.
 */
export async function inspectTraffic(
  settings: SiteSettings,
  customer: CustomerSettings,
  signal: AbortSignal,
): Promise<Finding[]> {
  const switches = switchesOf({ settings, customer: () => customer }, customer.id);
  const found = (['shift-dns', 'shift-proxy'] as const).map(async (act): Promise<Finding[]> => {
    try {
      await switches[act]?.prove(signal);
      return [];
    } catch (error) {
      signal.throwIfAborted();
      const kind = failureKind(error);
      if (!kind) throw error;
      const subject = `${names[act]} of ${customer.id}, as ${settings.site} uses it`;
      // No step waits yet, and nothing has to be done by hand.
      const next = failures[kind].try.replace(/(?:; then|\. Then) retry the step\.$|; or [^;]* and say `done`\.$/, '.');
      const named = next.replaceAll('CUSTOMER', customer.id).replaceAll('SITE', settings.site);
      return [{ severity: 'error', subject, observed: failureText(error), try: named }];
    }
  });
  return (await Promise.all(found)).flat();
}
