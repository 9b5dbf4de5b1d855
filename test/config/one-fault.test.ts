import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseDocument } from 'yaml';
import { expect, inject, it } from 'vitest';
import { readConfiguration } from '../../ops/config/configuration.ts';

/** The embedded stack's own file with one word wrong: one fault, and none for what would come of it. */

type Place = [path: (string | number)[], value: unknown];

async function faults(...places: Place[]): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tandem-config-'));
  try {
    const document = parseDocument(await readFile(inject('stack').configuration, 'utf8'));
    for (const [path, value] of places) document.setIn(path, document.createNode(value));
    await writeFile(join(folder, 'tandem.yaml'), document.toString());
    return await readConfiguration(join(folder, 'tandem.yaml')).then(
      () => 'no faults',
      (error: unknown) => (error as Error).message,
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const contoso = (...path: (string | number)[]): (string | number)[] => ['customers', 'contoso', ...path];

it.each<[string, Place]>([
  ['the name of a site that is mistyped', [contoso('sites', 1), 'wset']],
  [
    'a role that is mistyped',
    [
      ['operators', 'operator-1', 'roles'],
      ['declare', 'aprove'],
    ],
  ],
  ['an option that is not sold', [contoso('options'), ['teleport']]],
])('%s', async (_, place) => {
  const told = await faults(place);
  expect(told).toMatch(/^configuration .*: 1 fault\n/);
});

it('a site that is nowhere else is not taken for another one', async () => {
  expect(await faults([contoso('sites'), ['north', 'east']])).not.toContain('stand in for itself');
});
