import { actRules, acts, conditions, moveKinds, services, stepArguments, type Act } from '../workflows/model/acts.ts';
import { onFailures } from '../workflows/model/plan.ts';

/** For editors: the same tables that the loader reads by, as JSON Schema (draft 2020-12). The linter says more. */
export function runbookSchema(): Record<string, unknown> {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: 'schema.json',
    title: 'Tandem runbook',
    type: 'object',
    required: ['kind', 'name', 'steps'],
    additionalProperties: false,
    properties: {
      kind: { enum: moveKinds, description: 'The kind of move that this is the order of.' },
      name: { type: 'string', minLength: 1, maxLength: 80 },
      steps: { type: 'array', minItems: 1, maxItems: 50, items: { $ref: '#/$defs/step' } },
    },
    $defs: { step: step(), duration: duration(), text: { type: 'string', minLength: 1, maxLength: 200 } },
  };
}

const duration = (): Record<string, unknown> => ({
  type: 'string',
  pattern: '^(?=.)(\\d+d)?(\\d+h)?(\\d+m)?(\\d+s)?$',
  description: 'Such as 8h, 90m, 7h30m or 30s; at most 24h.',
});

function step(): Record<string, unknown> {
  const id = { type: 'string', pattern: '^[a-z][a-z0-9-]{0,62}$' };
  const lasting = (description: string) => ({ $ref: '#/$defs/duration', description });
  return {
    type: 'object',
    required: ['id', 'act'],
    additionalProperties: false,
    properties: {
      id,
      act: { enum: acts },
      ...Object.fromEntries(stepArguments.map((name) => [name, { $ref: '#/$defs/text' }])),
      service: { enum: services },
      needs: { type: 'array', items: id, uniqueItems: true, description: 'Steps that are behind it before it starts.' },
      when: {
        oneOf: [{ enum: conditions }, { type: 'array', items: { enum: conditions }, minItems: 2, uniqueItems: true }],
        description: 'Only for customers who have bought, or have configured, all of this.',
      },
      timeout: lasting('What one attempt may take.'),
      attempts: { type: 'integer', minimum: 1, maximum: 20, description: 'Of one round, before an operator is asked.' },
      within: lasting('It is tried again for so long.'),
      'outside-rto': { type: 'boolean', description: 'The RTO clock does not wait for it.' },
      'on-failure': {
        enum: onFailures,
        description:
          'hold: after its attempts an operator is waited for; ask-operator: after the first; continue: noted as a gap.',
      },
    },
    allOf: acts.filter((act) => actRules[act].takes.length > 0 || actRules[act].safety).map(ofAct),
  };
}

/** What an act takes must be there; one that guards users, or waits for one, is never passed over. */
function ofAct(act: Act): Record<string, unknown> {
  const { takes, safety } = actRules[act];
  const waits = act === 'wait-for-operator';
  const held = { properties: { 'on-failure': { enum: onFailures.filter((value) => value !== 'continue') } } };
  return {
    if: { properties: { act: { const: act } } },
    // oxlint-disable-next-line unicorn/no-thenable -- JSON Schema's own word; nobody awaits this.
    then: { ...(takes.length > 0 && { required: takes }), ...((safety || waits) && held) },
  };
}
