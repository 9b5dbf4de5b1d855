import { namedArguments, type NamedArgument } from '../workflows/model/acts.ts';
import type { Step } from '../workflows/model/plan.ts';
import { nearest } from './yaml.ts';

/** What one place of the configuration lists, by the argument that names it; what is left out is not looked at. */
export interface Listed {
  /** The site or the customer, for people. */
  where: string;
  names: Partial<Record<NamedArgument, readonly string[]>>;
}

/** A name in a step that a place which should list it does not. */
export interface Unlisted {
  step: string;
  field: NamedArgument;
  text: string;
}

/** Every name that some place does not list: a step with it would stop the move in the middle. */
export function unlisted(steps: readonly Step[], places: readonly Listed[]): Unlisted[] {
  return steps.flatMap((step) =>
    namedArguments.flatMap((field) => {
      const name = step[field];
      if (name === undefined || name === '') return [];
      return places.flatMap(({ where, names }) => {
        const known = names[field];
        if (known === undefined || known.includes(name)) return [];
        const instead = known.length > 0 ? nearest(name, known) : `${where} lists none`;
        return [{ step: step.id, field, text: `${JSON.stringify(name)} is no ${field} of ${where}; ${instead}` }];
      });
    }),
  );
}
