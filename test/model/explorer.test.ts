import { describe, expect, it } from 'vitest';
import { explore, type WorldOf } from './explorer.ts';

/** Two counters, each other's mirror image; one state must not be. */
const counters = (faultAt: [number, number] | null, most = 9): WorldOf => ({
  size: 2,
  events: [0, 1].map((i) => ({
    name: i === 0 ? 'left grows' : 'right grows',
    apply: (state: Uint8Array) => {
      if ((state[i] ?? 0) >= most) return false;
      state[i] = (state[i] ?? 0) + 1;
      return true;
    },
  })),
  mirror: (state, mirrored) => {
    mirrored[0] = state[1] ?? 0;
    mirrored[1] = state[0] ?? 0;
  },
  mirrorOf: [1, 0],
  faultOf: (state) =>
    faultAt !== null && Math.max(...state) === faultAt[0] && Math.min(...state) === faultAt[1]
      ? state.join(' and ')
      : null,
});
const start = new Uint8Array([0, 0]);

describe('the explorer', () => {
  it('finds the shortest way, and names its events as they happened, whichever way round states were kept', () => {
    const { found } = explore(counters([3, 1]), [start], { depth: 9 });
    const ends = { 'left grows': 0, 'right grows': 0 };
    for (const event of found?.events ?? []) ends[event as keyof typeof ends] += 1;
    expect(found?.events).toHaveLength(4);
    expect([...(found?.state ?? [])]).toEqual([ends['left grows'], ends['right grows']]);
    expect(found?.fault).toBe(`${ends['left grows']} and ${ends['right grows']}`);
  });

  it('sees every state once, and of two mirror images one: 10 x 10 of them are 55', () => {
    expect(explore(counters(null), [start], { depth: 99 })).toMatchObject({ states: 55, whole: true, found: null });
  });

  it('keeps a hundred thousand states apart', () => {
    expect(explore(counters(null, 250), [start], { depth: 999 })).toMatchObject({
      states: (251 * 252) / 2,
      whole: true,
    });
  });

  it('ends at its depth, and says that this was not all', () => {
    expect(explore(counters([3, 1]), [start], { depth: 3 })).toMatchObject({ depth: 3, whole: false, found: null });
  });

  it('looks at the start too', () => {
    expect(explore(counters([0, 0]), [start], { depth: 3 }).found).toMatchObject({ events: [] });
  });
});
