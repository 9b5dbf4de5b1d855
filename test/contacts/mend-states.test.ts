import { describe, expect, it } from 'vitest';
import {
  all,
  contact,
  database,
  DOMAIN,
  halvesForEach,
  list,
  mend,
  nothing,
  pair,
  people,
  stateOf,
  states,
} from './halves.ts';

/** What each side says, in words; a request for what one has already is none. */
function words(state: string | null): Set<string> {
  const [subscription = 'N', ask = 'N'] = state ?? '';
  const said = new Set<string>();
  if (subscription === 'T' || subscription === 'B') said.add('sees him');
  if (subscription === 'F' || subscription === 'B') said.add('is seen');
  if ((ask === 'O' || ask === 'B') && !said.has('sees him')) said.add('asked him');
  if ((ask === 'I' || ask === 'B') && !said.has('is seen')) said.add('was asked');
  return said;
}
const across: Record<string, string> = {
  'sees him': 'is seen',
  'is seen': 'sees him',
  'asked him': 'was asked',
  'was asked': 'asked him',
};
const meant = (current: string | null): Set<string> => new Set([...words(current)].map((word) => across[word] ?? ''));

halvesForEach();

describe('mending', () => {
  it('makes every state of a restored side meet every state of the current one, and finds nothing a second time', async () => {
    const made: { n: number; lost: string | null; current: string | null }[] = [];
    for (const lost of states) for (const current of states) made.push({ n: made.length, lost, current });
    for (const { n, lost, current } of made) await pair(`l${n}`, `c${n}`, lost, current);
    const told = await mend();
    const apart = made.filter(
      ({ lost, current }) => [...words(lost)].toSorted().join() !== [...meant(current)].toSorted().join(),
    );
    expect(told).toEqual({
      ...nothing,
      pairs: made.filter(({ lost, current }) => words(lost).size + words(current).size > 0).length,
      pairsDisagreed: apart.length,
      pairsMended: apart.length,
    });
    for (const { n, lost, current } of made) {
      const now = await stateOf(`l${n}`, `c${n}`);
      expect(words(now), `${lost} with ${current}`).toEqual(meant(current));
      const agreed = !apart.some((a) => a.n === n);
      expect(agreed ? now : lost, `${lost} with ${current}`).toBe(lost);
      // What a stranger takes back was never a contact.
      expect(lost !== null && lost !== 'NI' && now === null).toBe(false);
      expect(await stateOf(`c${n}`, `l${n}`)).toBe(current);
    }
    const stands = await all('true');
    const pairs = made.filter(({ current }) => words(current).size > 0).length;
    expect(await mend()).toEqual({ ...nothing, pairs });
    expect(await all('true')).toEqual(stands);
  });

  it('takes away, and never gives, in every state of a pair of whom one blocks the other', async () => {
    const made: { n: number; lost: string | null; current: string | null }[] = [];
    for (const lost of states) for (const current of states) made.push({ n: made.length, lost, current });
    for (const { n, lost, current } of made) {
      await pair(`l${n}`, `c${n}`, lost, current);
      const [owner, other] = n % 2 === 0 ? [`l${n}`, `c${n}`] : [`c${n}`, `l${n}`];
      await list(owner, ['j', `${other}@${DOMAIN}`, 'd', 'tffff'], { name: 'Blocked contacts', inForce: true });
    }
    const told = await mend();
    let blocked = 0;
    for (const { n, lost, current } of made) {
      const [had, wanted, has] = [words(lost), meant(current), words(await stateOf(`l${n}`, `c${n}`))];
      expect(has, `${lost} with ${current}`).toEqual(new Set([...had].filter((word) => wanted.has(word))));
      if ([...wanted].some((word) => !had.has(word))) blocked += 1;
    }
    expect(told.pairsBlocked).toBe(blocked);
    expect(told.pairsMended).toBe(told.pairsDisagreed - blocked);
    const stands = await all('true');
    expect(await mend()).toMatchObject({ pairsDisagreed: blocked, pairsBlocked: blocked, pairsMended: 0 });
    expect(await all('true')).toEqual(stands);
  });

  it('adds who was accepted since, lets a request be answered, and has clients read their contacts anew', async () => {
    await pair('l1', 'c1', null, 'FN');
    await pair('l2', 'c2', null, 'NO');
    await pair('l3', 'c3', 'BN', 'BN');
    await people('l4', 'c4');
    await contact('l4', 'c4', 'NI', '', 'it is me');
    await contact('c4', 'l4', 'TN');
    await database.query(`insert into roster_version select 'l' || n, 'v' from generate_series(1, 4) n`);
    expect(await mend()).toMatchObject({ pairs: 4, pairsMended: 3 });
    const rows = await database.query(
      `select username, jid, nick, subscription, ask, askmessage, server, subscribe, type from rosterusers where username like 'l%' order by 1`,
    );
    const row = (n: number, subscription: string, ask = 'N'): object => ({
      username: `l${n}`,
      jid: `c${n}@${DOMAIN}`,
      nick: '',
      subscription,
      ask,
      askmessage: '',
      server: 'N',
      subscribe: '',
      type: 'item',
    });
    expect(rows).toEqual([row(1, 'T'), row(2, 'N', 'I'), row(3, 'B'), row(4, 'F')]);
    expect(await database.query('select username from roster_version')).toEqual([{ username: 'l3' }]);
  });
});
