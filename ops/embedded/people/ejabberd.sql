-- The tables in which ejabberd 23.01 keeps accounts, contacts and ACLs (the schema without a host column): our own
-- migration of the same tables, for a stack without ejabberd. Safe to repeat.
create table if not exists users (
  username text primary key,
  password text not null,
  serverkey text not null default '',
  salt text not null default '',
  iterationcount integer not null default 0,
  created_at timestamp not null default now()
);

create table if not exists rosterusers (
  username text not null,
  jid text not null,
  nick text not null,
  subscription character(1) not null,
  ask character(1) not null,
  askmessage text not null,
  server character(1) not null,
  subscribe text not null,
  type text,
  created_at timestamp not null default now()
);
create unique index if not exists i_rosteru_user_jid on rosterusers (username, jid);
create index if not exists i_rosteru_jid on rosterusers (jid);

create table if not exists rostergroups (
  username text not null,
  jid text not null,
  grp text not null
);
create index if not exists pk_rosterg_user_jid on rostergroups (username, jid);

create table if not exists roster_version (
  username text primary key,
  version text not null
);

create table if not exists privacy_default_list (
  username text primary key,
  name text not null
);

create table if not exists privacy_list (
  username text not null,
  name text not null,
  id bigserial unique,
  created_at timestamp not null default now()
);
create unique index if not exists i_privacy_list_username_name on privacy_list (username, name);

create table if not exists privacy_list_data (
  id bigint references privacy_list (id) on delete cascade,
  t character(1) not null,
  value text not null,
  action character(1) not null,
  ord numeric not null,
  match_all boolean not null,
  match_iq boolean not null,
  match_message boolean not null,
  match_presence_in boolean not null,
  match_presence_out boolean not null
);
create index if not exists i_privacy_list_data_id on privacy_list_data (id);
