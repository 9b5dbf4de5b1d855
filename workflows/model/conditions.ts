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

/** What whoever asks for a planned move may ask for, and need not. */
export const wishes = ['rehoming'] as const;

/** What a step's `when` may name: it is left out for a customer who has not bought, or has not configured, all of it, or where nobody asked for it. */
export const conditions = [...options, ...parts, ...wishes] as const;
export type Condition = (typeof conditions)[number];
