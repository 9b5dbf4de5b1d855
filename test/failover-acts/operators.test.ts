import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { admissionText } from '../../activities/services/admission.ts';
import { anchorOperators, readOperators } from '../../activities/services/operators.ts';
import type { Operator } from '../../activities/settings.ts';
import { rawHex } from '../../ops/keys.ts';
import type { Role } from '../../workflows/model/plan.ts';
import { makeWorld, type World } from './world.ts';

/** What a database remembers of operators, whatever its configuration says later. */

let world: World;
beforeAll(async () => {
  world = await makeWorld();
});
afterAll(() => world.close());

const keys = new Map<string, KeyObject>();
function person(id: string, roles: Role[]): Operator {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  keys.set(id, privateKey);
  return { id, key: rawHex(publicKey), roles };
}
const [al, bo, eve] = [person('al', ['commander']), person('bo', ['approve']), person('eve', ['approve'])];
const admitted = (o: Operator, by: string[]): Operator => ({
  ...o,
  admitted: by.map((id) => {
    const at = new Date().toISOString();
    const key = keys.get(id) ?? generateKeyPairSync('ed25519').privateKey;
    return { by: id, at, signature: sign(null, Buffer.from(admissionText(o, { by: id, at })), key).toString('hex') };
  }),
});
const start = (operators: Operator[]): ReturnType<typeof anchorOperators> => anchorOperators(world.westDb, operators);
const ids = async (operators: Operator[]): Promise<string[]> =>
  (await readOperators(world.westDb, operators)).admitted.map((o) => o.id);

beforeEach(async () => {
  await world.westDb.query('delete from tandem.operator');
  await world.westDb.query('update tandem.identity set founded_at = null');
});

describe('a database', () => {
  it('counts nobody before it has founders, then those of its first start, and never founds again', async () => {
    expect(await ids([al, bo])).toEqual([]);
    expect(await start([al, bo])).toMatchObject({ founded: true, notAdmitted: [] });
    expect(await start([al, bo, eve])).toMatchObject({ founded: false, notAdmitted: [{ operator: 'eve' }] });
    expect(await ids([al, bo, eve])).toEqual(['al', 'bo']);
    expect(await ids([{ ...eve, id: 'al', roles: ['commander'] }, bo])).toEqual(['bo']);
  });

  it('takes who was admitted for good, and not again after he left', async () => {
    await start([al, bo]);
    const entry = admitted(eve, ['al', 'bo']);
    expect((await start([al, bo, entry])).fresh.map((o) => o.id)).toEqual(['eve']);
    expect(await ids([al, bo, eve])).toEqual(['al', 'bo', 'eve']); // Without the signatures: they were read once.
    expect((await start([al, bo])).gone).toEqual(['eve']);
    expect(await ids([al, bo, entry])).toEqual(['al', 'bo']);
    await start([al, bo, entry]);
    expect(await ids([al, bo, entry])).toEqual(['al', 'bo']);
    expect(await ids([al, bo, admitted(eve, ['al', 'bo'])])).toEqual(['al', 'bo', 'eve']);
  });

  it('is not emptied by a configuration of somebody else', async () => {
    await start([al, bo]);
    expect((await start([eve])).gone).toEqual([]);
    expect(await ids([al, bo])).toEqual(['al', 'bo']);
  });

  it('keeps one entry of a name, also when two workers start at once', async () => {
    await Promise.all([start([al, bo]), start([al, bo]), start([al, bo])]);
    const [row] = await world.westDb.query<{ n: number }>('select count(*)::int as n from tandem.operator');
    expect(row?.n).toBe(2);
  });
});
