import { ofClosing } from './mutations-of-closing.ts';
import { ofMoves } from './mutations-of-moves.ts';
import { ofPlanned } from './mutations-of-planned.ts';
import type { Mutation } from './mutation.ts';

/** Every rule, and what goes wrong without it. */
export const mutations: readonly Mutation[] = [...ofMoves, ...ofPlanned, ...ofClosing];
