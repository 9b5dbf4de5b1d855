-- The tables of ejabberd that hold contacts and ACLs, as far as a restore is proved on them.
create table rosterusers (
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
create unique index on rosterusers (username, jid);

create table rostergroups (
  username text not null,
  jid text not null,
  grp text not null
);
create index on rostergroups (username, jid);

create table privacy_default_list (
  username text primary key,
  name text not null
);

create table privacy_list (
  username text not null,
  name text not null,
  id bigserial unique,
  created_at timestamp not null default now()
);
create unique index on privacy_list (username, name);

create table privacy_list_data (
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
create index on privacy_list_data (id);
