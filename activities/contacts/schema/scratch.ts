/**
 * The tables of ejabberd 23.01 that hold contacts and ACLs, as a load makes them: bare, so that rows can be copied in
 * frozen, each in a transaction of its own.
 */
export const tables = {
  contacts: {
    create: `create table rosterusers (
      username text not null,
      jid text not null,
      nick text not null,
      subscription character(1) not null,
      ask character(1) not null,
      askmessage text not null,
      server character(1) not null,
      subscribe text not null,
      type text,
      created_at timestamp not null default now())`,
    copy: 'rosterusers (username, jid, nick, subscription, ask, askmessage, server, subscribe, type)',
    format: 'binary',
  },
  groups: {
    create: `create table rostergroups (username text not null, jid text not null, grp text not null)`,
    copy: 'rostergroups (username, jid, grp)',
    format: 'binary',
  },
  lists: {
    create: `create table privacy_list (
      username text not null,
      name text not null,
      id bigserial,
      created_at timestamp not null default now())`,
    copy: 'privacy_list (username, name, id)',
    format: 'binary',
  },
  items: {
    create: `create table privacy_list_data (
      id bigint,
      t character(1) not null,
      value text not null,
      action character(1) not null,
      ord numeric not null,
      match_all boolean not null,
      match_iq boolean not null,
      match_message boolean not null,
      match_presence_in boolean not null,
      match_presence_out boolean not null)`,
    copy: `privacy_list_data (id, t, value, action, ord, match_all, match_iq, match_message, match_presence_in, match_presence_out)`,
    format: 'text',
  },
  defaults: {
    create: `create table privacy_default_list (username text not null, name text not null)`,
    copy: 'privacy_default_list (username, name)',
    format: 'binary',
  },
} as const;

/** Indexes and constraints under ejabberd's names, to be made when the rows are there: each group beside the others. */
export const indexes: readonly string[] = [
  'create unique index i_rosteru_user_jid on rosterusers (username, jid)',
  'create index i_rosteru_jid on rosterusers (jid)',
  'create index pk_rosterg_user_jid on rostergroups (username, jid)',
  `alter table privacy_list add unique (id);
   create unique index i_privacy_list_username_name on privacy_list (username, name);
   create index i_privacy_list_data_id on privacy_list_data (id);
   alter table privacy_list_data add foreign key (id) references privacy_list (id) on delete cascade;
   alter table privacy_default_list add primary key (username);
   select setval(pg_get_serial_sequence('privacy_list', 'id'), coalesce(max(id), 1), max(id) is not null) from privacy_list`,
];
