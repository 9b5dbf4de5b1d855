const item = (set: string): string =>
  `update privacy_list_data set ${set} where id = (select id from privacy_list where username = $1 order by id limit 1)`;
/** His first row of a table. */
export const one = (table: string): string => `ctid = (select min(ctid) from ${table} where username = $1)`;

/** What may become of a user's rows; `$1` is his name. */
export const CHANGES: Record<string, string[]> = {
  'a contact renamed': [`update rosterusers set nick = 'other' where ${one('rosterusers')}`],
  'a contact that is new': [
    `insert into rosterusers select username, 'new@x.example', nick, subscription, ask, askmessage, server, subscribe, type from rosterusers where ${one('rosterusers')}`,
  ],
  'a contact deleted': [`delete from rosterusers where ${one('rosterusers')}`],
  'all contacts deleted': ['delete from rosterusers where username = $1'],
  'as many contacts deleted as are new': [
    `delete from rosterusers where ${one('rosterusers')}`,
    `insert into rosterusers select username, 'new@x.example', nick, subscription, ask, askmessage, server, subscribe, type from rosterusers where ${one('rosterusers')}`,
  ],
  'a contact deleted that was new': [
    `insert into rosterusers select username, 'new@x.example', nick, subscription, ask, askmessage, server, subscribe, type from rosterusers where ${one('rosterusers')}`,
    `update rosterusers set nick = 'kept' where username = $1 and jid <> 'new@x.example'`,
    `delete from rosterusers where username = $1 and jid = 'new@x.example'`,
  ],
  'a group that is new': [`insert into rostergroups values ($1, 'new@x.example', 'Group')`],
  'a group deleted': [`delete from rostergroups where ${one('rostergroups')}`],
  'an item of a list': [item(`value = 'other@x.example'`)],
  'an item of a list deleted': [
    'delete from privacy_list_data where id in (select id from privacy_list where username = $1)',
  ],
  'a list renamed': [`update privacy_list set name = 'other ' || name where username = $1`],
  'a list deleted': ['delete from privacy_list where username = $1'],
  'a list of its own': [`insert into privacy_list (username, name) values ($1, 'one more')`],
  'a default list': [
    `insert into privacy_default_list values ($1, 'x') on conflict (username) do update set name = 'x'`,
  ],
  'no default list': ['delete from privacy_default_list where username = $1'],
  'what HOT leaves': [1, 2, 3].map((n) => `update rosterusers set nick = 'hot ${n}' where username = $1`),
};
