import { describe, expect, it } from 'vitest';
import { Slots } from '../../activities/mover/slots.ts';

const never = new AbortController().signal;

describe('slots never', () => {
  it('let more work at once than there are, however many ask', async () => {
    const slots = new Slots(2);
    let working = 0;
    let most = 0;
    const work = async (): Promise<void> => {
      const leave = await slots.take(never);
      working += 1;
      most = Math.max(most, working);
      await new Promise((done) => setImmediate(done));
      working -= 1;
      leave();
    };
    await Promise.all(Array.from({ length: 20 }, work));
    expect(most).toBe(2);
  });

  it('keep a place for one who was told to stop in line, nor give one back twice', async () => {
    const slots = new Slots(1);
    const leave = await slots.take(never);
    const asked = new AbortController();
    const stopped = slots.take(asked.signal);
    const next = slots.take(never);
    asked.abort(new Error('stopped'));
    await expect(stopped).rejects.toThrow('stopped');
    leave();
    leave();
    const last = await next;
    let third = false;
    const after = slots.take(never).then((done) => ((third = true), done));
    await new Promise((done) => setImmediate(done));
    expect(third).toBe(false);
    last();
    await after;
    expect(third).toBe(true);
  });
});
