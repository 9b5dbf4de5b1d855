import fc from 'fast-check';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { loadRunbook, parseRunbook, shippedRunbooks } from '../../runbooks/load.ts';
import { runbookSchema } from '../../runbooks/schema.ts';
import { actRules, acts, canPerform, moveKinds, type Act } from '../../workflows/model/acts.ts';
import type { Runbook } from '../../workflows/model/plan.ts';

const parse = (kind: string, steps: readonly string[]): ReturnType<typeof parseRunbook> =>
  parseRunbook('r.yaml', Buffer.from(`kind: ${kind}\nname: Test\nsteps:\n${steps.map((s) => `  - ${s}`).join('\n')}`));
const faults = (kind: string, steps: readonly string[]): string[] => {
  const parsed = parse(kind, steps);
  return 'faults' in parsed ? parsed.faults.map((f) => f.text) : [];
};
const base = [
  '{ id: epoch, act: advance-epoch }',
  '{ id: fence, act: fence-site, needs: [epoch] }',
  '{ id: contacts, act: restore-contacts, needs: [epoch] }',
  '{ id: serve, act: serve-users, needs: [fence, contacts] }',
];
const more = (step: string): string[] => faults('failover', [...base, step]);

describe('a runbook is refused', () => {
  it('when it serves users whose filter, entitlement or archive does not stand', () => {
    expect(more('{ id: p, act: check-parity }')[0]).toMatch(/^serve-users must need p \(check-parity\)/);
    expect(more('{ id: e, act: apply-entitlements, needs: [contacts] }')[0]).toMatch(/must need e \(apply-entitl/);
    expect(more('{ id: a, act: enable-service, service: archiving, needs: [epoch] }')[0]).toMatch(
      /must need a \(archiving\).*unarchived/,
    );
  });

  it('when what guards all users is done for some customers only', () => {
    const some = base.map((s) => s.replace('needs: [epoch] }', 'needs: [epoch], when: content-archiving }'));
    expect(faults('failover', some)).toEqual([
      'fence-site is done for every customer, not only for those with content-archiving',
      'restore-contacts is done for every customer, not only for those with content-archiving',
    ]);
  });

  it('with an act that has no place in such a move, or an option that nobody sells', () => {
    expect(more('{ id: x, act: rehome-users, needs: [serve] }')).toEqual([
      'rehome-users has no place in a failover; it may stand in relocate',
    ]);
    expect(more('{ id: x, act: shift-dns, needs: [serve], when: video }')[0]).toMatch(/^"video"; allowed: third-party/);
    expect(more('{ id: x, act: shift-dns, needs: [serve], when: [dns, video] }')[0]).toMatch(
      /^"video"; allowed: third/,
    );
    expect(more('{ id: x, act: shift-dns, needs: [serve], when: [dns] }')[0]).toMatch(/^a list of two or more/);
    expect(more('{ id: x, act: shift-dns, needs: [serve], when: [dns, external-av] }')).toEqual([]);
  });

  it('when its steps cannot be done within the RTO, or cannot end', () => {
    expect(more('{ id: x, act: probe, service: contacts, needs: [serve], timeout: 24h }')[0]).toMatch(
      /^up to here it may take 24 h 31 min, and the promised RTO is 24 h 00 min: epoch → contacts → serve → x$/,
    );
    expect(more('{ id: x, act: probe, service: contacts, needs: [serve], timeout: 24h, outside-rto: true }')).toEqual(
      [],
    );
    expect(more('{ id: x, act: probe, service: contacts, needs: [serve], timeout: 10m, within: 5m }')[0]).toMatch(
      /^5 min 0 s is less than one attempt may take, 10 min 0 s$/,
    );
  });

  it('when a step within the RTO waits for one outside of it', () => {
    expect(
      faults('failover', [
        ...base,
        '{ id: x, act: shift-dns, needs: [serve], outside-rto: true }',
        '{ id: y, act: probe, service: presence, needs: [serve, x] }',
      ]),
    ).toEqual(['y needs it, and stands within the RTO']);
  });

  it('with arguments that are missing, too many or too long', () => {
    expect(more('{ id: x, act: call-http, needs: [epoch] }')[0]).toMatch(/^nothing; a request of 1 to 200/);
    expect(more('{ id: x, act: call-http, request: a, command: b, needs: [epoch] }')).toEqual([
      'call-http takes request only',
    ]);
    expect(more(`{ id: x, act: wait-for-operator, message: ${'x'.repeat(201)} }`)[0]).toMatch(/a message of 1 to 200/);
    expect(more('{ id: x, act: shift-dns, needs: [serve], outside-rto: maybe }')[0]).toMatch(/true or false/);
    expect(more('{ id: x, act: shift-dns, needs: [serve], attempts: 0 }')[0]).toMatch(/from 1 to 20/);
  });
});

describe('a step', () => {
  it('that asks an operator is tried once, any other five times, unless it says otherwise', () => {
    const steps = [
      '{ id: x, act: shift-dns, needs: [serve], on-failure: ask-operator }',
      '{ id: y, act: shift-dns, needs: [serve], attempts: 2, within: 20m }',
    ];
    const parsed = parse('failover', [...base, ...steps]);
    if (!('runbook' in parsed)) throw new Error(JSON.stringify(parsed));
    expect(parsed.runbook.steps.map((s) => s.attempts)).toEqual([5, 5, 5, 5, 1, 2]);
    expect(parsed.runbook.steps.at(-1)).toMatchObject({ withinMs: 1_200_000, onFailure: 'hold' });
  });
});

describe('runbooks without a fault', () => {
  /** All that must have been before an act, in every order in which its steps may end. */
  const unsafe = ({ steps, kind }: Runbook): string[] => {
    const behind = (id: string): Set<Act> => {
      const step = steps.find((s) => s.id === id);
      return new Set(
        (step?.needs ?? []).flatMap((n) => [...behind(n), ...steps.filter((s) => s.id === n).map((s) => s.act)]),
      );
    };
    return steps.flatMap((s) =>
      actRules[s.act].after
        .filter(({ act }) => actRules[act].kinds.includes(kind) && steps.some((other) => other.act === act))
        .filter(({ act }) => !behind(s.id).has(act))
        .map(({ act }) => `${s.id} (${s.act}) without ${act}`),
    );
  };

  it('keep the safety order, however they are made up', () => {
    const step = fc.record({ act: fc.constantFrom(...acts), needs: fc.uniqueArray(fc.nat(9), { maxLength: 6 }) });
    let sound = 0;
    fc.assert(
      fc.property(fc.array(step, { maxLength: 6 }), fc.boolean(), (extra, whole) => {
        const ids = ['epoch', 'fence', 'contacts', 'serve', ...extra.map((_, i) => `s${i}`)];
        const lines = extra.map(({ act, needs }, i) => {
          const args = actRules[act].takes
            .map((name) => `, ${name}: ${name === 'service' ? 'presence' : 'x'}`)
            .join('');
          const on = whole ? ['serve'] : needs.flatMap((n) => (n < i + 4 ? [ids[n]] : []));
          return `{ id: s${i}, act: ${act}, needs: [${on.join(', ')}]${args} }`;
        });
        const parsed = parse('failover', [...base, ...lines]);
        if (!('runbook' in parsed)) return;
        sound += 1;
        expect(unsafe(parsed.runbook)).toEqual([]);
      }),
      { numRuns: 500, seed: 7 },
    );
    expect(sound).toBeGreaterThan(50);
  });

  it.each(moveKinds)('are shipped for a %s', async (kind) => {
    const runbook = await loadRunbook(shippedRunbooks[kind]);
    expect(runbook.kind).toBe(kind);
    expect(unsafe(runbook)).toEqual([]);
  });

  it('are, for a lost site, of acts that this version performs', async () => {
    for (const kind of ['failover', 'evacuation', 'isolated-test', 'tabletop-test'] as const) {
      const { steps } = await loadRunbook(shippedRunbooks[kind]);
      expect(steps.filter(({ act }) => !canPerform(act))).toEqual([]);
    }
  });
});

describe('the schema for editors', () => {
  it('says what the tables say; TANDEM_RECORD=1 writes it anew', () => {
    const file = fileURLToPath(new URL('../../runbooks/schema.json', import.meta.url));
    const text = `${JSON.stringify(runbookSchema(), null, 2)}\n`;
    if (process.env['TANDEM_RECORD'] === '1') writeFileSync(file, text);
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(JSON.parse(text));
  });
});
