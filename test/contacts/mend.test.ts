import { describe, expect, it } from 'vitest';
import {
  all,
  contact,
  database,
  DOMAIN,
  halvesForEach,
  letters,
  list,
  mend,
  nothing,
  pair,
  people,
  stateOf,
  states,
} from './halves.ts';

halvesForEach();

describe('mending never', () => {
  const denials: [string, string[]][] = [
    ['everything, by address', ['j', '%', 'd', 'tffff']],
    ['presence in, by address', ['j', '%', 'd', 'ffftf']],
    ['presence out, by address', ['j', '%', 'd', 'fffft']],
    ['queries, by address', ['j', '%', 'd', 'ftfff']],
    ['messages, by address', ['j', '%', 'd', 'fftff']],
    ['everything, by one of his resources', ['j', '%/phone', 'd', 'tffff']],
    ['presence, by domain', ['j', DOMAIN, 'd', 'fffft']],
    ['presence, by group', ['g', 'Friends', 'd', 'fffft']],
    ['presence, by subscription', ['s', 'none', 'd', 'fffft']],
    ['everybody', ['n', '', 'd', 'tffff']],
    ['in a way that the service cannot read', ['j', 'eve@', 'a', 'tffff']],
  ];
  it.each(denials)('grants a subscription past a list that denies %s', async (_, [type = '', value = '', ...rest]) => {
    const sides = [
      ['l1', 'c1'],
      ['c2', 'l2'],
      ['l3', 'c3'],
    ] as const;
    for (const [owner, other] of sides) {
      const [lost, current] = owner.startsWith('l') ? [owner, other] : [other, owner];
      // By its subscription only what is none by its owner's row: of the current ones it is what they say.
      const says = type === 's' && owner === current ? 'NI' : 'BN';
      await pair(lost, current, 'NN', says);
      await database.query(`insert into rostergroups values ($1, $2, 'Friends')`, [owner, `${other}@${DOMAIN}`]);
      await list(owner, [type, value.replace('%', `${other}@${DOMAIN}`), ...rest], {
        name: owner === 'l3' ? 'Blocked contacts' : 'l',
        inForce: owner === 'l3',
      });
    }
    expect(await mend()).toEqual({ ...nothing, pairs: 3, pairsDisagreed: 3, pairsBlocked: 3 });
    expect(await Promise.all([stateOf('l1', 'c1'), stateOf('l2', 'c2'), stateOf('l3', 'c3')])).toEqual([
      'NN',
      'NN',
      'NN',
    ]);
  });

  it('adds a contact past a block, or for a user whose lists could not be read', async () => {
    await pair('l1', 'c1', null, 'BN');
    await list('l1', ['j', `c1@${DOMAIN}`, 'd', 'tffff'], { name: 'Blocked contacts', inForce: true });
    await pair('l2', 'c2', null, 'TN');
    await database.query(
      `insert into tandem.quarantine (username, record_id, because, release) values ('l2', '\\x00', 'x', '{}')`,
    );
    await pair('l3', 'c3', 'TN', 'NO'); // He was unsubscribed, and asked for his presence; he blocks who asks.
    await list('l3', ['j', `c3@${DOMAIN}`, 'd', 'ffftf']);
    expect(await mend()).toEqual({ ...nothing, pairs: 3, pairsDisagreed: 3, pairsBlocked: 3 });
    expect(await stateOf('l1', 'c1')).toBeNull();
    expect(await stateOf('l2', 'c2')).toBeNull();
    expect(await stateOf('l3', 'c3')).toBe('NN');
  });

  it('removes a contact, its name or its groups', async () => {
    for (const [n, state] of letters.entries()) {
      await people(`l${n}`, `c${n}`);
      await contact(`l${n}`, `c${n}`, state, n % 2 === 0 ? 'Cy' : '');
      if (n % 2 === 1)
        await database.query(`insert into rostergroups values ($1, $2, 'Work')`, [`l${n}`, `c${n}@${DOMAIN}`]);
    }
    const groups = await database.query('select * from rostergroups order by username');
    const { pairs, pairsMended } = await mend();
    expect([pairs, pairsMended]).toEqual([15, 15]);
    const rows = await database.query(
      `select nick, subscription || ask as state, count(*)::int as n from rosterusers group by 1, 2 order by 1`,
    );
    expect(rows).toEqual([
      { nick: '', state: 'NN', n: 8 },
      { nick: 'Cy', state: 'NN', n: 8 },
    ]);
    expect(await database.query('select * from rostergroups order by username')).toEqual(groups);
  });

  it('writes a row of those who were served on, nor one of strangers, other domains or two who were restored', async () => {
    let n = 0;
    for (const lost of states)
      for (const current of [null, 'BN', 'TN', 'NI']) await pair(`l${(n += 1)}`, `c${n}`, lost, current);
    await pair('l1', 'l2', 'BN', 'NN');
    await contact('l1', 'gone', 'BN');
    await contact('l1', 'mira@partner.example', 'BN');
    await contact('l2', 'tano@partner.example', 'NN');
    await contact('l2', 'l2', 'BN');
    await contact('c1', 'tano@partner.example', 'BN');
    const rest = `username like 'c%' or jid not like 'c%@${DOMAIN}'`;
    const before = await all(rest);
    expect(before.length).toBeGreaterThan(50);
    expect(await mend()).toMatchObject({ pairsWithin: 1, pairsElsewhere: 1 });
    expect(await all(rest)).toEqual(before);
  });

  it('gives a user more contacts than he may have', async () => {
    for (const other of ['c1', 'c2', 'c3', 'c4']) await pair('l1', other, null, 'BN');
    await contact('l1', 'mira@partner.example', 'BN');
    await contact('l1', 'asks@partner.example', 'NI');
    await pair('l1', 'c5', 'NI', 'TN'); // Who asks is no contact yet, and would be one more.
    await pair('l1', 'c6', null, 'NO'); // A request takes no room.
    await pair('l1', 'c7', 'TN', 'BN'); // And who is a contact already does not either.
    expect(await mend({ limit: 4 })).toMatchObject({ pairsDisagreed: 7, pairsMended: 4, pairsOverLimit: 3 });
    expect(
      await database.query(
        `select jid from rosterusers where username = 'l1' and not (subscription = 'N' and ask = 'I')`,
      ),
    ).toHaveLength(4);
    expect(await stateOf('l1', 'c6')).toBe('NI');
    expect(await stateOf('l1', 'c7')).toBe('BN');
  });

  it('takes lists that were never kept on both sides for those of people who removed each other', async () => {
    for (let n = 0; n < 101; n += 1) await pair('l1', `c${n}`, 'BN', n === 0 ? 'NN' : null);
    await pair('l2', 'c1', null, 'BN');
    expect(await mend()).toEqual({ ...nothing, pairs: 102, pairsDisagreed: 102, pairsMended: 1, pairsOneSided: 101 });
    expect(await stateOf('l1', 'c0')).toBe('NN'); // Both sides know of this one.
    expect(await stateOf('l1', 'c1')).toBe('BN');
    expect(await stateOf('l2', 'c1')).toBeNull();
  });

  it('leaves anything half done when it is ended in the middle', async () => {
    for (const half of ['l', 'c'])
      await database.query(
        `insert into tandem.home select $1 || n, case $1 when 'l' then 'east' else 'west' end from generate_series(1, 700) n`,
        [half],
      );
    const row = (owner: string, other: string, state: string): string =>
      `select '${owner}' || n, '${other}' || n || '@${DOMAIN}', '', '${state}', 'N', '', 'N', '', 'item' from generate_series(1, 700) n`;
    const into =
      'insert into rosterusers (username, jid, nick, subscription, ask, askmessage, server, subscribe, type)';
    await database.query(`${into} ${row('l', 'c', 'B')}`);
    await database.query(`${into} ${row('c', 'l', 'T')}`);
    const before = await all('true');
    const stop = new AbortController();
    await expect(mend({ signal: stop.signal, heartbeat: () => stop.abort() })).rejects.toThrow(/abort/i);
    expect(await all('true')).toEqual(before);
    expect(await database.query('select from tandem.mended')).toEqual([]);
    expect(await mend()).toMatchObject({ pairs: 700, pairsMended: 700 });
  });
});
