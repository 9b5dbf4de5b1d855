import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { guarded } from '../watch/ground.ts';
import { SiteMetrics } from '../../ops/metrics.ts';
import { prepareSite } from '../../ops/prepare.ts';
import { refusing, withoutSite } from '../rig/black-holes.ts';
import { openRegion, type Region } from '../rig/region.ts';
import { sql } from '../rig/sql.ts';

/** What a worker does before it is ready, and while it lives. */

let region: Region;
beforeAll(async () => {
  region = await openRegion();
});
afterAll(() => region.close());

const at = <Row extends object>(text: string): Promise<Row[]> => sql<Row>(region.urls.west, text);
const served = async (): Promise<number> =>
  (await at<{ n: number }>('select count(*)::int as n from tandem.home where tandem.may_serve(username)'))[0]?.n ?? NaN;

describe('a site that was down for six minutes', () => {
  it('is closed before its worker is ready, while nobody confirms it, and opens when the peer does', async () => {
    const before = await served();
    expect(before).toBeGreaterThan(0);
    await at(`update tandem.alive set at = clock_timestamp() - interval '6 minutes'`);
    const said: string[] = [];
    const alone = withoutSite(region.settings.west, 'east', refusing);
    await prepareSite(alone, region.clients.west, (line) => said.push(line));
    expect(said.join('\n')).toMatch(
      /contoso: CLOSED: its last sign of life is 6 min .* old, limit 5 min 0 s; it opens when east/,
    );
    expect(await served()).toBe(0);
    // Another start, of a worker that has just said that it lives, opens nothing.
    await prepareSite(region.settings.west, region.clients.west, () => undefined);
    expect(await served()).toBe(0);

    const metrics = new SiteMetrics();
    const closed = async (): Promise<string> =>
      /tandem_site_closed\{customer="contoso",site="west",kind="was-down"\} (\d)/.exec(
        await metrics.registry.metrics(),
      )?.[1] ?? '-';
    const first = new AbortController();
    const guarding = guarded(alone, metrics, first.signal, (line) => said.push(line));
    await expect.poll(closed, { timeout: 20_000 }).toBe('1');
    first.abort();
    await guarding;
    expect(await at('select waits_for from tandem.closed')).toEqual([
      { waits_for: expect.stringMatching(/its peer does not answer/) as string },
    ]);
    const second = new AbortController();
    const opening = guarded(region.settings.west, metrics, second.signal, (line) => said.push(line));
    await expect.poll(closed, { timeout: 20_000 }).toBe('0');
    second.abort();
    await opening;
    expect(said.at(-1)).toMatch(
      /contoso: opened: its peer holds the same epoch 1; the users of west are its to serve; it was closed/,
    );
    expect(await served()).toBe(before);
  });
});
