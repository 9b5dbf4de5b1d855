/**
 * What a runbook's step may do: a closed list, and the same word in the YAML, the type, the switch, the activity, the
 * metric and the log.
 */
export const acts = [
  'advance-epoch',
  'fence-site',
  'open-site',
  'salvage-contacts',
  'take-snapshot',
  'restore-contacts',
  'reconcile-contacts',
  'apply-entitlements',
  'serve-users',
  'rehome-users',
  'drain-sessions',
  'shift-dns',
  'shift-proxy',
  'enable-service',
  'disable-service',
  'probe',
  'check-parity',
  'reconcile-archive',
  'request-external-update',
  'notify',
  'wait-for-operator',
  'call-http',
  'run-command',
] as const;
export type Act = (typeof acts)[number];

/** Acts that this version performs; a plan with another one cannot be approved. */
export const performedActs = [
  'advance-epoch',
  'fence-site',
  'open-site',
  'salvage-contacts',
  'take-snapshot',
  'restore-contacts',
  'reconcile-contacts',
  'apply-entitlements',
  'serve-users',
  'rehome-users',
  'drain-sessions',
  'shift-dns',
  'shift-proxy',
  'check-parity',
  'reconcile-archive',
  'enable-service',
  'probe',
  'notify',
  'request-external-update',
  'call-http',
  'run-command',
] as const satisfies readonly Act[];
export type PerformedAct = (typeof performedActs)[number];

/** Whether a plan with this act can be walked to its end; whoever is waited for, the workflow itself waits for. */
export const canPerform = (act: Act): boolean => isPerformed(act) || act === 'wait-for-operator';

export const isPerformed = (act: Act): act is PerformedAct => (performedActs as readonly Act[]).includes(act);

/** Kinds of move that a runbook is written for. */
export const moveKinds = [
  'failover',
  'relocate',
  'failback',
  'evacuation',
  'tabletop-test',
  'isolated-test',
  'live-test',
] as const;
export type MoveKind = (typeof moveKinds)[number];

/** Services that are promised to users (SERVICE), and `contacts`, which all of them stand on. */
export const services = [
  'contacts',
  'instant-messaging',
  'presence',
  'remote-access',
  'audio-video',
  'file-transfer',
  'mobile',
  'web-access',
  'trusted-federation',
  'archiving',
  'provisioning',
  'third-party-federation',
  'public-im',
] as const;
export type Service = (typeof services)[number];

/** What a step says beside what all steps say. */
export const stepArguments = ['service', 'request', 'command', 'party', 'channel', 'message'] as const;
export type StepArgument = (typeof stepArguments)[number];

/** Arguments that name an entry of the configuration, which may or may not list it. */
export const namedArguments = ['request', 'command', 'party', 'channel'] as const satisfies readonly StepArgument[];
export type NamedArgument = (typeof namedArguments)[number];

export interface ActRule {
  /** Guards users: never passed over when it failed, and skipped or called done by two operators only. */
  safety: boolean;
  /** Kinds of move in which it may stand. */
  kinds: readonly MoveKind[];
  /** At most one step of a runbook has it. */
  once: boolean;
  /** Arguments that it must have. */
  takes: readonly StepArgument[];
  /** The act that takes its effect back; null when nothing does. */
  undo: Act | null;
  /** Acts behind every step of which it must stand (DESIGN 4, the safety order), and why. */
  after: readonly { act: Act; because: string }[];
  /** What an attempt may take when the runbook does not say, ms. */
  usualTimeoutMs: number;
}

const S = 1000;
const MIN = 60 * S;
const live: readonly MoveKind[] = ['failover', 'relocate', 'failback', 'evacuation', 'live-test'];
const lost: readonly MoveKind[] = ['failover', 'evacuation'];
const planned: readonly MoveKind[] = ['relocate', 'failback', 'live-test'];

const rule = (given: Partial<ActRule>): ActRule => ({
  safety: false,
  kinds: live,
  once: false,
  takes: [],
  undo: null,
  after: [],
  usualTimeoutMs: 30 * S,
  ...given,
});

const epoch = (because: string) => ({ act: 'advance-epoch', because }) as const;
const served = (because: string) => ({ act: 'serve-users', because }) as const;

export const actRules: Record<Act, ActRule> = {
  'advance-epoch': rule({ safety: true, once: true }),
  'fence-site': rule({
    safety: true,
    once: true,
    kinds: lost,
    undo: 'open-site',
    after: [epoch('a fence carries the epoch')],
  }),
  'open-site': rule({
    safety: true,
    kinds: planned,
    undo: 'fence-site',
    after: [epoch('a site opens under the newest epoch only')],
  }),
  'salvage-contacts': rule({ safety: true, kinds: ['relocate', 'failback'], usualTimeoutMs: 30 * MIN }),
  'take-snapshot': rule({ safety: true, kinds: ['relocate', 'failback', 'live-test'], usualTimeoutMs: 30 * MIN }),
  'restore-contacts': rule({
    safety: true,
    kinds: [...live, 'isolated-test'],
    after: [epoch('the database takes rows of the newest epoch only')],
    usualTimeoutMs: 30 * MIN,
  }),
  'reconcile-contacts': rule({
    safety: true,
    kinds: ['relocate', 'failback', 'live-test'],
    after: [epoch('the database takes rows of the newest epoch only')],
    usualTimeoutMs: 30 * MIN,
  }),
  'apply-entitlements': rule({
    safety: true,
    after: [{ act: 'restore-contacts', because: 'who may sign in is decided over the rows that were restored' }],
    usualTimeoutMs: 5 * MIN,
  }),
  'serve-users': rule({
    safety: true,
    once: true,
    after: [
      epoch('nobody is served under an old epoch'),
      { act: 'fence-site', because: 'nobody is served while the lost site may still serve him' },
      { act: 'drain-sessions', because: 'nobody is served while sessions at the other site still take his changes' },
      { act: 'restore-contacts', because: 'nobody is served without his contacts and ACLs' },
      { act: 'reconcile-contacts', because: 'nobody is served without his contacts and ACLs' },
      { act: 'apply-entitlements', because: 'nobody is served who is not entitled' },
      { act: 'check-parity', because: 'nobody is served past the message filter' },
    ],
  }),
  'rehome-users': rule({
    safety: true,
    kinds: ['relocate'],
    once: true,
    undo: 'rehome-users',
    after: [
      served('a home moves when its users are served there'),
      {
        act: 'probe',
        because: 'until their home moves, users go back as they came: what they find is looked at before',
      },
      { act: 'reconcile-archive', because: 'what was archived is brought along by the half that its users leave' },
    ],
    usualTimeoutMs: MIN,
  }),
  'drain-sessions': rule({
    safety: true,
    once: true,
    kinds: planned,
    after: [epoch('sessions are drained under the epoch of their move')],
  }),
  'shift-dns': rule({ undo: 'shift-dns', after: [served('clients would be led to a closed door')] }),
  'shift-proxy': rule({ undo: 'shift-proxy', after: [served('clients would be led to a closed door')] }),
  'enable-service': rule({
    takes: ['service'],
    undo: 'disable-service',
    after: [epoch('a service is switched under the newest epoch only')],
  }),
  'disable-service': rule({
    takes: ['service'],
    undo: 'enable-service',
    after: [epoch('a service is switched under the newest epoch only')],
  }),
  probe: rule({
    kinds: [...live, 'isolated-test'],
    takes: ['service'],
    after: [served('a probe looks at users who are served')],
    usualTimeoutMs: 15 * MIN,
  }),
  'check-parity': rule({ safety: true }),
  'reconcile-archive': rule({
    kinds: ['relocate', 'failback'],
    after: [served('until then messages are archived at the site that they leave')],
    usualTimeoutMs: 30 * MIN,
  }),
  'request-external-update': rule({
    kinds: ['failover', 'relocate', 'failback', 'evacuation'],
    takes: ['party'],
    after: [served('others are told to send users where they are served')],
  }),
  notify: rule({ kinds: moveKinds, takes: ['channel', 'message'] }),
  'wait-for-operator': rule({ kinds: moveKinds, takes: ['message'], usualTimeoutMs: 24 * 60 * MIN }),
  'call-http': rule({ takes: ['request'], after: [epoch('what it asks for carries the epoch')] }),
  'run-command': rule({ takes: ['command'], after: [epoch('what it does carries the epoch')] }),
};

const handOver: readonly Act[] = ['advance-epoch', 'drain-sessions', 'take-snapshot', 'serve-users'];

/** Acts without which a move of this kind moves nobody. */
export const requiredActs: Record<MoveKind, readonly Act[]> = {
  failover: ['advance-epoch', 'fence-site', 'restore-contacts', 'serve-users'],
  evacuation: ['advance-epoch', 'fence-site', 'restore-contacts', 'serve-users'],
  relocate: handOver,
  failback: ['salvage-contacts', 'reconcile-contacts', ...handOver],
  'tabletop-test': [],
  'isolated-test': ['restore-contacts', 'probe'],
  'live-test': ['advance-epoch', 'serve-users'],
};
