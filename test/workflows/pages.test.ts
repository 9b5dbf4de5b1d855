import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { failoverStatus } from '../../ops/moves.ts';
import type { Message } from '../../activities/notify/port.ts';
import { silentEnd, webhookEnd, type WebhookEnd } from '../notify/ends.ts';
import { approve, ask, cover, declare, reach } from '../rig/failovers.ts';
import { openRegion, type Region } from '../rig/region.ts';

/** Who is on duty is paged by a webhook that answers and by one that never does. */

let region: Region;
let hook: WebhookEnd;
let silent: Awaited<ReturnType<typeof silentEnd>>;
beforeAll(async () => {
  region = await openRegion({ users: 10 });
  [hook, silent] = await Promise.all([webhookEnd(), silentEnd()]);
  await cover(region);
  region.lose('east');
  const channels = new Map([
    ['hook', hook.settings],
    ['dead', { ...hook.settings, url: `https://127.0.0.1:${silent.port}/` }],
  ]);
  region.settings.west = { ...region.settings.west, channels, paging: ['hook', 'dead'] };
  await region.work('west');
});
afterAll(async () => {
  await region.close();
  await Promise.all([hook.close(), silent.close()]);
});

const pages = (): Message[] => hook.received.map(({ body }) => JSON.parse(body) as Message);

describe('a move whose operators are paged', () => {
  it('is held up by no webhook that is dead, tells each thing once, and keeps what was not sent', async () => {
    await ask(region, 'west', 'alter table rosterusers rename column nick to nick_');
    const handle = await declare(region);
    for (const operator of region.operators.slice(0, 2)) await approve(handle, operator);
    const held = await reach(handle, (s) => s.steps.some((step) => step.state === 'held'));
    await expect.poll(pages).toHaveLength(3);
    const [declared, asked, step] = pages();
    expect(declared?.subject).toBe('contoso: site east is declared lost');
    expect(asked?.text).toContain(
      'Next: tandem failover approve --customer contoso --site west --operator ID --key FILE',
    );
    expect(step).toMatchObject({ severity: 'critical', move: held.move });
    expect(step?.subject).toMatch(/^contoso: step contacts is held/);
    expect(step?.text).toMatch(
      /Phase: moving .*\n.*\nNext: tandem failover retry --customer contoso --site west --step contacts/,
    );

    // The dead one is given up while the move is held: a quick move may end before that.
    await reach(handle, (s) => s.unsent.some(({ channel }) => channel === 'dead'));
    await ask(region, 'west', 'alter table rosterusers rename column nick_ to nick');
    const [one] = region.operators;
    if (!one) throw new Error('no operators');
    await approve(handle, one, { verb: 'retry', step: 'contacts' });
    const { report } = await handle.result();
    expect(report.outcome).toBe('closed');
    const ended = pages();
    expect(ended.map(({ key }) => key.split('/')[2])).toEqual(['declared', 'plan', 'alarm', 'ended']);
    expect(new Set(ended.map(({ key }) => key)).size).toBe(4);
    expect(JSON.stringify(ended)).not.toMatch(/the hall is dark|@/);

    const { unsent } = await failoverStatus(handle);
    expect(unsent.map(({ channel }) => channel)).toContain('dead');
    const rows = await ask<{ text: string }>(
      region,
      'west',
      `select body::jsonb->>'text' as text from tandem.journal where kind = 'note' order by seq`,
    );
    expect(rows.map(({ text }) => text).join('\n')).toMatch(/page not sent by dead: .*no answer within 10 s/);
    // What the move was for was done long before the dead webhook was given up.
    expect(Date.parse(report.servedAt ?? '') - Date.parse(report.approvedAt ?? '')).toBeLessThan(60_000);
    const { history } = await handle.describe().then(async () => ({ history: await handle.fetchHistory() }));
    expect(history.events?.length).toBeLessThan(250);
  });
});
