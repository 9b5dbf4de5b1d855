/** Options that a customer may have bought (SERVICE). */
export const options = ['third-party-federation', 'public-im', 'content-archiving', 'external-av'] as const;

/** What a configuration may have for a customer, and need not. */
export const parts = [
  'dns',
  'proxy',
  'directory',
  'service-probes',
  'web-probes',
  'federation-probes',
  'provisioning-probes',
] as const;

/** What a step's `when` may name: it is left out for a customer who has not bought, or has not configured, all of it. */
export const conditions = [...options, ...parts] as const;
export type Condition = (typeof conditions)[number];
