/** Where a move stands. Each phase is a promise to the operator; only a transition acts. */
export type Phase = 'declared' | 'planning' | 'approving' | 'moving' | 'verifying' | 'turning-back' | EndPhase;

/** A move in one of them has only to be sealed. */
export type EndPhase = 'closed' | 'closed-with-gaps' | 'aborted' | 'turned-back' | 'superseded';

export type PhaseEvent =
  | 'slot-claimed'
  | 'resumed-moving'
  | 'resumed-verifying'
  | 'resumed-turning-back'
  | `resumed-${EndPhase}`
  | 'plan-made'
  | 'plan-blocked'
  | 'look-again'
  | 'approved'
  | 'broke-glass'
  | 'world-worse'
  | 'served'
  | 'verified'
  | 'left-gaps'
  | 'abort-asked'
  | 'nobody-approved'
  | 'turn-back-agreed'
  | 'turned-back'
  | 'newer-epoch';

export interface Transition {
  from: Phase;
  on: PhaseEvent;
  to: Phase;
  /** What the operator reads. */
  because: string;
}

const ends: readonly EndPhase[] = ['closed', 'closed-with-gaps', 'aborted', 'turned-back', 'superseded'];

export const endPhases: readonly Phase[] = ends;

export const isEnd = (phase: Phase): phase is EndPhase => endPhases.includes(phase);

const before: Phase[] = ['declared', 'planning', 'approving', 'moving'];
const running: Phase[] = [...before, 'verifying', 'turning-back'];

export const transitions: readonly Transition[] = [
  { from: 'declared', on: 'slot-claimed', to: 'planning', because: 'this run holds the one slot of the customer' },
  {
    from: 'declared',
    on: 'resumed-moving',
    to: 'moving',
    because: 'this run goes on from the journal; what two operators signed still counts',
  },
  {
    from: 'declared',
    on: 'resumed-verifying',
    to: 'verifying',
    because: 'this run goes on from the journal; the users are served where they were to be',
  },
  {
    from: 'declared',
    on: 'resumed-turning-back',
    to: 'turning-back',
    because: 'this run goes on from the journal; the source is to serve its users again',
  },
  ...ends.map((to): Transition => ({
    from: 'declared',
    on: `resumed-${to}`,
    to,
    because: 'the move had come to this end; what was left to do is to seal its evidence',
  })),
  { from: 'planning', on: 'plan-made', to: 'approving', because: 'the plan stands; two operators read and sign it' },
  {
    from: 'planning',
    on: 'plan-blocked',
    to: 'approving',
    because: 'the plan cannot be approved as it is: nobody can sign it before what stands against it is gone',
  },
  {
    from: 'approving',
    on: 'look-again',
    to: 'planning',
    because: 'the plan could not be approved as it was; the world is looked at again',
  },
  { from: 'approving', on: 'approved', to: 'moving', because: 'two operators agreed' },
  {
    from: 'approving',
    on: 'broke-glass',
    to: 'moving',
    because: 'BREAK-GLASS: one commander agreed, alone; everybody was paged, and nobody stopped it within 10 minutes',
  },
  {
    from: 'moving',
    on: 'world-worse',
    to: 'planning',
    because: 'the world is worse than the plan that was signed; the signatures are void',
  },
  {
    from: 'moving',
    on: 'served',
    to: 'verifying',
    because: 'the users are served where they were to be; what they find is checked',
  },
  {
    from: 'verifying',
    on: 'verified',
    to: 'closed',
    because: 'every step is done, and what users find was checked',
  },
  {
    from: 'moving',
    on: 'verified',
    to: 'closed',
    because: 'every step is done; no step of this runbook serves users',
  },
  { from: 'moving', on: 'left-gaps', to: 'closed-with-gaps', because: 'the run ended with steps that are not done' },
  {
    from: 'verifying',
    on: 'left-gaps',
    to: 'closed-with-gaps',
    because: 'the users are served, and not every step is done',
  },
  {
    from: 'approving',
    on: 'nobody-approved',
    to: 'aborted',
    because: 'nobody approved within the limit; nothing was changed',
  },
  ...before.map((from): Transition => ({
    from,
    on: 'abort-asked',
    to: 'aborted',
    because: 'an operator stopped it before its epoch was claimed; nobody was moved',
  })),
  {
    from: 'moving',
    on: 'turn-back-agreed',
    to: 'turning-back',
    because: 'two operators turn it back before anybody was served; the source is to serve its users again',
  },
  {
    from: 'turning-back',
    on: 'turned-back',
    to: 'turned-back',
    because: 'nobody was moved; the source may serve its users again',
  },
  {
    from: 'turning-back',
    on: 'left-gaps',
    to: 'closed-with-gaps',
    because: 'nobody was moved, and the source was not given its users back: they are served by no site',
  },
  ...running.map((from): Transition => ({
    from,
    on: 'newer-epoch',
    to: 'superseded',
    because: 'another move holds a newer epoch; this one changes nothing any more',
  })),
];

/** The transition that an event makes; null when the table has none, which the caller must treat as a fault. */
export function transition(from: Phase, on: PhaseEvent): Transition | null {
  return transitions.find((t) => t.from === from && t.on === on) ?? null;
}
