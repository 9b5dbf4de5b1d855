import { moveKinds, services } from '../../workflows/model/acts.ts';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { loadRunbook, parseRunbook, shippedRunbooks } from '../../runbooks/load.ts';
import { failureKind, failureText } from '../../workflows/model/failures.ts';

const parse = (text: string): ReturnType<typeof parseRunbook> => parseRunbook('r.yaml', Buffer.from(text));
const faults = (text: string): string[] => {
  const parsed = parse(text);
  return 'faults' in parsed ? parsed.faults.map((f) => `${f.at} ${f.text}`) : [];
};

const good = {
  epoch: '{ id: epoch, act: advance-epoch }',
  fence: '{ id: fence, act: fence-site, needs: [epoch] }',
  contacts: '{ id: contacts, act: restore-contacts, needs: [epoch] }',
  serve: '{ id: serve, act: serve-users, needs: [fence, contacts] }',
};
const runbook = (change: Partial<typeof good> & { more?: string } = {}): string =>
  ['kind: failover', 'name: Test', 'steps:', ...Object.values({ ...good, ...change }).map((s) => `  - ${s}`)].join(
    '\n',
  );

describe('a runbook is refused', () => {
  it('with all that is wrong with it at once, in the order of the file, each at its place', () => {
    const broken = `kind: failovr
name: ''
stepz: 1
steps:
  - { id: epoch, act: advance-epoc, timeout: 5 }
  - { id: fence, act: fence-site, needs: [epok], on-failure: continue }
  - { id: fence, act: serve-users, needs: [c] }
  - { id: c, act: restore-contacts, needs: [c], service: contacts, timeout: 25h, need: [x] }
  - { id: 'Probe!', act: probe, needs: fence, service: dns }`;
    expect(faults(broken)).toEqual([
      `r.yaml:1:7 "failovr"; did you mean failover? allowed: ${moveKinds.join(', ')}`,
      'r.yaml:2:7 ""; a name of 1 to 80 characters is allowed',
      'r.yaml:3:1 unknown key; did you mean steps? allowed: kind, name, steps',
      'r.yaml:5:23 "advance-epoc"; did you mean advance-epoch?',
      'r.yaml:5:46 5; a duration such as 8h, 90m, 7h30m or 30s is allowed',
      'r.yaml:6:43 "epok" is no step; did you mean epoch? allowed: epoch, fence, c',
      'r.yaml:6:62 "continue"; fence-site guards the users: a failed one is held',
      'r.yaml:7:11 "fence" stands here a second time',
      'r.yaml:8:44 a circle, no step of it can start: c → c',
      'r.yaml:8:58 restore-contacts takes no such thing',
      'r.yaml:8:77 "25h"; at most 24h is allowed',
      'r.yaml:8:82 unknown key; did you mean needs?',
      'r.yaml:9:11 "Probe!"; an id of small letters, digits and dashes, a letter first, is allowed',
      'r.yaml:9:40 "fence"; a list is expected',
      `r.yaml:9:56 "dns"; allowed: ${services.join(', ')}`,
    ]);
  });

  it('when a step that waits for an operator goes on without him', () => {
    const wait = '{ id: wait, act: wait-for-operator, message: Look, on-failure: continue }';
    expect(faults(runbook({ more: wait }))).toEqual([
      expect.stringMatching(/"continue"; whoever is waited for is waited for$/),
    ]);
  });

  it('when somebody could be served before the epoch, the fence or the contacts', () => {
    expect(faults(runbook({ serve: '{ id: serve, act: serve-users, needs: [contacts] }' }))).toEqual([
      'r.yaml:7:43 serve-users must need fence (fence-site), itself or through others: nobody is served while the lost site may still serve him',
    ]);
    expect(faults(runbook({ serve: '{ id: serve, act: serve-users }' })).length).toBe(3);
    expect(faults(runbook({ contacts: '{ id: contacts, act: restore-contacts }' }))[0]).toContain('must need epoch');
    expect(faults(runbook({ fence: '{ id: fence, act: restore-contacts, needs: [epoch] }' }))[0]).toContain(
      'no step with fence-site',
    );
  });

  it('when a probe looks before anybody is served', () => {
    expect(faults(runbook({ more: '{ id: p, act: probe, service: contacts, needs: [epoch] }' }))[0]).toContain(
      'must need serve',
    );
    expect(faults(runbook({ more: '{ id: p, act: probe, needs: [serve] }' }))[0]).toContain('nothing');
  });

  it('with steps that wait for each other, the circle named once', () => {
    const circle = runbook({ fence: '{ id: fence, act: fence-site, needs: [epoch, serve] }' });
    expect(faults(circle)).toEqual(['r.yaml:5:42 a circle, no step of it can start: fence → serve → fence']);
  });

  it('with an act of which a failover has one', () => {
    expect(faults(runbook({ more: '{ id: again, act: advance-epoch }' }))[0]).toContain(
      'a second step with advance-epoch',
    );
    expect(faults('kind: failover\nname: x\nsteps: []')[0]).toContain('no step');
  });

  it.each(['', '[]', 'kind: [', 'kind: failover\nkind: failover', 'steps: {}', 'a: &a [*a]'])(
    'when it is %j',
    (text) => {
      expect(faults(text).length).toBeGreaterThan(0);
    },
  );

  it('by one failure that lists the lines', async () => {
    const error: unknown = await loadRunbook(new URL('load.test.ts', import.meta.url).pathname).catch(
      (e: unknown) => e,
    );
    expect(failureKind(error)).toBe('runbook-invalid');
    expect(failureText(error)).toMatch(/load\.test\.ts:\d+:\d+/);
  });
});

describe('the shipped runbook', () => {
  it('holds no fault, and its digest is that of its bytes', async () => {
    const { kind, steps, digest } = await loadRunbook(undefined);
    expect([kind, ...steps.map((s) => s.act)]).toEqual([
      'failover',
      'advance-epoch',
      'fence-site',
      'restore-contacts',
      'apply-entitlements',
      'check-parity',
      'enable-service',
      'serve-users',
      'probe',
      'shift-proxy',
      'shift-dns',
      ...Array.from({ length: 10 }, () => 'probe'),
      'request-external-update',
      'request-external-update',
    ]);
    expect(digest).toBe(createHash('sha256').update(readFileSync(shippedRunbooks.failover)).digest('hex'));
  });
});
