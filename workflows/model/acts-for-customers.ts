import type { Act } from './acts.ts';

/** What each brings a customer, in words that need no runbook. */
export const actsForCustomers: Record<Act, string> = {
  'advance-epoch': 'the lasting note that your service has moved',
  'fence-site': 'the certainty that the lost site serves nobody',
  'open-site': 'the opening of the site',
  'salvage-contacts': 'the saving of what was changed at the other site',
  'take-snapshot': 'a fresh copy of your contacts and block lists',
  'restore-contacts': 'bringing back your contacts and block lists',
  'reconcile-contacts': 'bringing the contacts of both sites together',
  'apply-entitlements': 'who may use which service',
  'serve-users': 'serving your users at the other site',
  'rehome-users': 'making the other site the home of your users',
  'drain-sessions': 'ending sessions in an orderly way',
  'shift-dns': 'pointing your addresses to the other site',
  'shift-proxy': 'leading connections to the other site',
  'enable-service': 'switching on a service',
  'disable-service': 'switching off a service',
  probe: 'a check of a service',
  'check-parity': 'the check that both sites filter alike',
  'reconcile-archive': 'bringing the archives of both sites together',
  'request-external-update': 'a change at a partner',
  notify: 'a message to those concerned',
  'wait-for-operator': 'a task of our staff',
  'call-http': 'a step in another system',
  'run-command': 'a step in another system',
};
