-- What Tandem keeps in a customer's contact database at each site. Safe to repeat.
create schema if not exists tandem;

-- Whose database this is. One row: an address that points at the wrong database is found out before anything is written.
create table if not exists tandem.identity (
  one boolean primary key default true check (one),
  customer text not null,
  site text not null,
  version integer not null
);

-- Tells one database from another that took its place.
alter table tandem.identity add column if not exists id uuid not null default gen_random_uuid();
-- The digest of this file, as it was last brought here.
alter table tandem.identity add column if not exists schema text;

-- Where each user belongs: `site` is his home, or a cohort of its users, `site/name`. The same at both sites: whoever were of one
-- half here and of another there would be served by both sites once these halves are apart.
create table if not exists tandem.home (
  username text primary key,
  site text not null
);

-- Users whose home a move has changed for good, each by the newest one that did: his home is the site named here, whatever a directory
-- says of new users or a backup of this database of old ones. The same at both sites, as homes are: the newer entry of a user counts.
create table if not exists tandem.rehomed (
  username text primary key,
  home text not null,
  epoch bigint not null,
  move text not null,
  -- The recovery point of what the site that he came to held when he was handed over: one that was put back to a backup, and holds an
  -- older copy, does not serve him before it holds this one again.
  copied_at timestamptz not null,
  at timestamptz not null default now()
);

-- The home of the users of a half.
create or replace function tandem.home_of(half text) returns text language sql immutable as $$ select split_part(half, '/', 1) $$;

-- The fencing token: the newest epoch this site knows, and the move that claimed it.
create table if not exists tandem.epoch (
  customer text primary key,
  number bigint not null check (number >= 0),
  site text not null,
  move text not null,
  at timestamptz not null default now()
);

-- The number under which the peer's own database was seen to hold the very claim that this site holds. From then on another claim of
-- that number, in a vault or the witness, is one that came to nothing: a peer whose database falls silent later makes no fork of it.
alter table tandem.epoch add column if not exists followed bigint;

-- Epochs of its peer that this site has obeyed: when its own epoch was raised, by what it learned of it, and when its service
-- was seen to serve nobody any longer; null while nothing was seen.
create table if not exists tandem.obeyed (
  customer text not null,
  number bigint not null,
  site text not null,
  move text not null,
  store text not null,
  at timestamptz not null default now(),
  service_closed_at timestamptz,
  primary key (customer, number)
);

-- What the watch of this site has come to about its peer, `site`. Written on every change, and each minute: an old row says
-- that nobody watches. `silent_since`: the first look at its client port that failed, of the run that never recovered.
create table if not exists tandem.watched (
  customer text not null,
  site text not null,
  verdict text,
  since timestamptz,
  silent_since timestamptz,
  at timestamptz not null default now(),
  observers jsonb not null,
  primary key (customer, site)
);

-- Where else this site has claimed an epoch: its vault, the witness and the customer's zone. What was away is asked again until it has the claim.
create table if not exists tandem.claim (
  customer text not null,
  number bigint not null,
  move text not null,
  store text not null,
  claimed boolean not null,
  -- Why it could not be written, at the last attempt.
  because text,
  -- A newer claim stands there: it is not tried again.
  refused boolean not null default false,
  at timestamptz not null default now(),
  primary key (customer, number, store)
);

-- What the claim of a planned move says beside its number: under which epoch it follows on, and what its peer goes on serving.
alter table tandem.claim add column if not exists follows bigint;
alter table tandem.claim add column if not exists keeps text[];

-- The right to serve: one row a half (the users whose `tandem.home` names it). No row, or an epoch older than the newest one = closed.
create table if not exists tandem.serving (
  customer text not null,
  half text not null,
  site text not null,
  epoch bigint not null,
  -- When that site was given it; a further epoch that it takes itself changes nothing. What was copied since protects these users.
  at timestamptz not null default now(),
  primary key (customer, half)
);

-- Halves that this site served under an epoch, and serves no longer: what was changed here since the last snapshot that left
-- is nowhere else, until it lies in this site's vault. `manifest`: of that salvage, null while there is none. It is kept until
-- it is released, by the way home.
create table if not exists tandem.salvage (
  customer text not null,
  half text not null,
  epoch bigint not null,
  noticed_at timestamptz not null default now(),
  manifest text,
  salvaged_at timestamptz,
  released_at timestamptz,
  primary key (customer, half, epoch)
);
-- Whoever gives away what this site served, by whatever way, leaves it here to be salvaged.
create or replace function tandem.note_unsalvaged() returns trigger language plpgsql as $$
begin
  if old.site is distinct from (select site from tandem.identity) then
    return null;
  -- A cohort that is none any more, under the very right of the half that its users go back to.
  elsif tg_op = 'DELETE' and exists (
    select from tandem.serving s where s.customer = old.customer and s.half <> old.half and s.half = tandem.home_of(old.half)
                                   and s.site = old.site and s.epoch = old.epoch) then
    return null;
  elsif tg_op = 'DELETE' or new.site <> old.site then
    insert into tandem.salvage (customer, half, epoch) values (old.customer, old.half, old.epoch) on conflict do nothing;
  -- Given back before anybody else had it: these rows go on, and what was salvaged of them is needed no more.
  elsif tg_op = 'UPDATE' and new.site = old.site and new.epoch > old.epoch then
    update tandem.salvage set released_at = now()
     where customer = old.customer and half = old.half and epoch = old.epoch and manifest is not null and released_at is null;
  end if;
  return null;
end $$;
drop trigger if exists note_unsalvaged on tandem.serving;
create trigger note_unsalvaged after update or delete on tandem.serving
  for each row execute procedure tandem.note_unsalvaged();

-- Halves that a planned move is about to hand over: from this row on nobody serves them here, and they stay this site's to
-- protect. It counts under its own epoch only; the hand-over takes it away, and so does whoever turns back. `obeyed_at`: from
-- then on the service was known to serve none of them, and all that it had written before was written.
create table if not exists tandem.drained (
  customer text not null,
  half text not null,
  epoch bigint not null,
  move text not null,
  at timestamptz not null default clock_timestamp(),
  obeyed_at timestamptz,
  primary key (customer, half)
);

-- Halves that this site has handed over: `copied_at` is the recovery point of the snapshot that the destination held then. Whoever
-- takes the half holds that one, or a newer one: a destination that was put back to a backup does not, until it was applied again.
create table if not exists tandem.handed (
  customer text not null,
  half text not null,
  epoch bigint not null,
  copied_at timestamptz not null,
  -- This site's own last snapshot, in which they are as they were then: until the peer has covered one of its own, the newest that
  -- anybody has of them.
  gen bigint,
  seq bigint,
  manifest text,
  at timestamptz not null default now(),
  primary key (customer, half)
);

-- Where a move of this site has last led whoever comes through its own proxy, and under which epoch.
create table if not exists tandem.led (
  customer text primary key,
  epoch bigint not null,
  sites text[] not null,
  at timestamptz not null default now()
);

-- Which snapshot a user's rows here come from. Written in the transaction that writes the rows.
create table if not exists tandem.ledger (
  username text primary key,
  -- '-': this site has served him, and the rows here are those of then; nobody's snapshot brought them.
  served_by text not null,
  gen bigint not null,
  seq bigint not null,
  record_id bytea not null,
  -- Of the rows here with what was mended of them, by this server's own hash functions; null when they were never digested.
  digest bytea,
  epoch bigint not null,
  applied_at timestamptz not null default now()
);
alter table tandem.ledger add column if not exists digest bytea;
-- The rules by which the ACLs of the record were judged when its rows were written; null when nobody did.
alter table tandem.ledger add column if not exists judged integer;

-- How many rows of each kind that digest was made of, in the order of a record; null where they were not counted.
alter table tandem.ledger add column if not exists rows integer[];

-- The snapshot that the ledger's entries of this site's own users stand for, and under which mark they were digested.
create table if not exists tandem.taken (
  customer text primary key,
  gen bigint not null,
  seq bigint not null,
  manifest text not null,
  tag bytea not null,
  at timestamptz not null default now()
);
-- How rows that are new since that one are told, and of which snapshot that is said: an older version moves `seq` without it.
alter table tandem.taken add column if not exists horizon jsonb;
alter table tandem.taken add column if not exists horizon_seq bigint;

-- The newest snapshot of each site that the standby copy here holds whole.
create table if not exists tandem.applied (
  customer text not null,
  site text not null,
  gen bigint not null,
  seq bigint not null,
  manifest text not null,
  at timestamptz not null default now(),
  primary key (customer, site)
);

alter table tandem.applied add column if not exists database text;
-- What a failover needs to know of it when no vault answers.
alter table tandem.applied add column if not exists point timestamptz;
alter table tandem.applied add column if not exists counts jsonb;
-- When every row of the copy was last compared with what the ledger says; null as soon as anybody is given users to serve.
alter table tandem.applied add column if not exists proven_at timestamptz;
create or replace function tandem.doubt_copies() returns trigger language plpgsql as $$
begin
  update tandem.applied set proven_at = null where customer = coalesce(new.customer, old.customer) and proven_at is not null;
  return null;
end $$;
drop trigger if exists doubt_copies on tandem.serving;
create trigger doubt_copies after insert or update or delete on tandem.serving
  for each row execute procedure tandem.doubt_copies();

-- Under which epoch its site served whom the snapshot holds; null when an older version applied it.
alter table tandem.applied add column if not exists epoch bigint;
-- How many of its users it was not applied to, by half ('': who have no home here among those that its site serves): rows of theirs stand
-- here that nothing explains. Null when an older version applied it.
alter table tandem.applied add column if not exists held jsonb;

-- Local versions that stood in the way of a snapshot's, sealed as records: nothing is dropped in silence.
create table if not exists tandem.conflict (
  id bigint generated always as identity primary key,
  username text not null,
  record bytea not null,
  because text not null,
  at timestamptz not null default now()
);

-- Moves. One live move a customer.
create table if not exists tandem.move (
  move text primary key,
  customer text not null,
  kind text not null,
  workflow_id text not null,
  phase text not null,
  input jsonb not null,
  started_at timestamptz not null,
  ended_at timestamptz
);
-- The run that works on it: one that was taken over writes no more.
alter table tandem.move add column if not exists run text;
create unique index if not exists one_live_move on tandem.move (customer) where ended_at is null;
-- The last line of its journal that lies in this site's vault.
alter table tandem.move add column if not exists mirrored integer not null default 0;
-- When its evidence was read back from this site's vault, whole; until then, why it could not be brought there.
alter table tandem.move add column if not exists sealed_at timestamptz;
alter table tandem.move add column if not exists not_sealed text;

-- What each user of the lost half got, by the HMAC of his name, in the parts in which the vault has it. Written with the
-- line of the journal that names the ledger's digest.
create table if not exists tandem.recovery (
  move text not null,
  ledger text not null,
  part integer not null,
  document text not null,
  -- It lies in this site's vault.
  mirrored boolean not null default false,
  primary key (move, ledger, part)
);

-- What a move did, as a hash chain: hash = sha256(previous hash || canonical JSON of all else in the line).
create table if not exists tandem.journal (
  customer text not null,
  move text not null,
  seq integer not null,
  key text not null,
  kind text not null,
  at timestamptz not null,
  body text not null,
  hash bytea not null,
  primary key (move, seq),
  unique (move, key)
);

-- Operators that count here: those who were in the configuration when the database was first prepared (`admitted` is
-- null), and those whom two of them admitted since. One who left counts again only when he is admitted anew.
alter table tandem.identity add column if not exists founded_at timestamptz;
create table if not exists tandem.operator (
  id bigint generated always as identity primary key,
  operator text not null,
  key text not null,
  roles jsonb not null,
  expires text,
  admitted jsonb,
  at timestamptz not null default now(),
  removed_at timestamptz
);
create unique index if not exists one_current_operator on tandem.operator (operator) where removed_at is null;

-- Snapshots this site has taken and pulled: high-water marks, so that a vault rolled back is noticed.
create table if not exists tandem.high_water (
  customer text not null,
  site text not null,
  gen bigint not null,
  seq bigint not null,
  primary key (customer, site)
);

-- When each pack in this site's vault was last opened whole, and what was wrong with it; null when nothing was.
create table if not exists tandem.opened (
  customer text not null,
  site text not null,
  gen bigint not null,
  pack text not null,
  at timestamptz not null default now(),
  because text,
  primary key (customer, site, gen, pack)
);

-- Users whose ACL the service could not read, or whose record nobody could: not let in until an operator says so, or a
-- record comes that can be read. `release` is his signed word, for this very record.
create table if not exists tandem.quarantine (
  username text primary key,
  record_id bytea not null,
  because text not null,
  since timestamptz not null default now(),
  release jsonb
);

-- Contacts whose subscription a restore has brought to what the other side says: the row as it was brought, and as it was
-- left; null: there is none. The rows of a user are those of the record in the ledger, and these.
create table if not exists tandem.mended (
  username text not null,
  jid text not null,
  before text,
  after text,
  at timestamptz not null default now(),
  primary key (username, jid)
);

-- Users who were brought together with what a site that came back had alone, by the manifest of that salvage. Each is written once for
-- it: what he changes afterwards stands. `document`: what differed, and what became of it. Personal data, which goes nowhere from here.
create table if not exists tandem.reconciled (
  salvage text not null,
  username text not null,
  move text not null,
  document jsonb not null,
  at timestamptz not null default now(),
  -- When the other side of the contacts that it changed was brought to agree.
  mended_at timestamptz,
  primary key (salvage, username)
);

-- How far the archive of users who came here was brought along, by `customer/epoch/step`. Written with the rows: in a database that was
-- put back to a backup it goes on where that one ends.
create table if not exists tandem.archive_brought (
  key text primary key,
  customer text not null,
  epoch bigint not null,
  -- The last row of the other site's archive that was looked at.
  reached_at bigint not null,
  reached_id bigint not null,
  -- Rows of these users that the other site has, and those of them that were not here.
  looked bigint not null,
  brought bigint not null,
  -- Rows of users who are of none of these halves here: not brought.
  strangers bigint not null,
  at timestamptz not null default now()
);

-- Requests to parties outside, one for each epoch. Written with the move that asks, followed after it has closed.
create table if not exists tandem.external_update (
  customer text not null,
  epoch bigint not null,
  party text not null,
  move text not null,
  option text not null,
  from_site text not null,
  to_site text not null,
  state text not null,
  -- Messages that the channel accepted.
  sent integer not null default 0,
  sent_at timestamptz,
  requested_at timestamptz not null default now(),
  changed_at timestamptz not null default now(),
  because text not null default '',
  -- SHA-256 of the word by which the party answers: whoever reads this table cannot.
  token bytea not null unique,
  -- Who said what, and when; what operators signed, whole.
  history jsonb not null default '[]',
  primary key (customer, epoch, party)
);

-- The customer's directory, where it is kept as a table: whoever has a row is entitled. Filled by whoever provisions.
create table if not exists tandem.directory (
  username text primary key,
  -- The site where a new user is to be at home; null: by a hash of his name.
  home text,
  -- SCRAM keys as RFC 5803 writes them; null: he keeps those he has.
  credentials text
);

-- The continuity test that is held at this site: one a customer. `epoch`: the newest known when it began, a newer one ends it.
-- `seen_at`: its run lives; when that is old, another test takes its place.
create table if not exists tandem.continuity_test (
  customer text primary key,
  run text not null,
  kind text not null,
  epoch bigint not null,
  began_at timestamptz not null default now(),
  seen_at timestamptz not null default now()
);

-- The customer leaves: from this row on no new move or test begins here. It is taken away when two operators take it back.
create table if not exists tandem.leaving (
  customer text primary key,
  decision bigint not null,
  -- From then on its snapshots end, and its keys may be destroyed.
  day timestamptz not null,
  because text not null,
  at timestamptz not null default now()
);

-- What was found, when it was last asked, of the failover in which this site would survive.
create table if not exists tandem.readiness (
  customer text primary key,
  at timestamptz not null,
  found jsonb not null
);

-- What this site knows of the customer's directory: the last good answer, which is in force until a better one comes, and
-- what became of those since. `at` null: none was ever believed, and whoever has a home is entitled.
create table if not exists tandem.directory_answer (
  customer text primary key,
  -- When it was asked for.
  at timestamptz,
  users integer not null default 0,
  -- SHA-256 of all names, homes and keys: equal at both sites when both stand alike.
  digest text,
  -- Grows with every answer that enables or disables somebody.
  version bigint not null default 0,
  counts jsonb,
  tried_at timestamptz not null default now(),
  -- Why the newest attempt gave no answer; null when it gave one.
  failed text,
  -- An answer that would disable too many, until an operator accepts that or a better one comes.
  held jsonb,
  -- The page that was sent last.
  paged text
);
-- Of the first answer with this digest: since when this site goes by what it goes by.
alter table tandem.directory_answer add column if not exists digest_at timestamptz;

-- Who may be served, by the directory: where one is in force, no row is a no.
create table if not exists tandem.entitlement (
  username text primary key,
  enabled boolean not null,
  since timestamptz not null default now(),
  -- Of the answer that changed it.
  version bigint not null,
  -- He was disabled by an operator's word for that answer, not by the answer alone.
  accepted boolean not null default false
);
create index if not exists entitlement_version on tandem.entitlement (version);

-- Whom the held answer would disable. `accepted` is an operator's signed word, for these very users.
create table if not exists tandem.directory_removal (
  username text primary key,
  accepted jsonb
);

-- What users may send each other: written by this site's worker from its configuration, read by its service every second. No
-- row, or one whose digest is not that of its document: nothing is delivered.
create table if not exists tandem.filter_policy (
  customer text primary key,
  document text not null,
  digest text not null,
  at timestamptz not null default now()
);

-- A row: this site serves nobody of the customer, whatever its serving rows say. Those stand as they are, for what is this site's
-- to protect does not change by it.
create table if not exists tandem.closed (
  customer text primary key,
  -- One closing: an operator's word to open counts for it, and for no other.
  id uuid not null default gen_random_uuid(),
  -- cut-off: it saw neither its peer nor the witness. was-down: it was away, and does not know what has become of its users
  -- since. fork: one epoch of two sites. operator: somebody said so.
  kind text not null check (kind in ('cut-off', 'was-down', 'fork', 'operator')),
  because text not null,
  since timestamptz not null default now(),
  -- Why it was not opened when that was last tried, and when.
  waits_for text,
  tried_at timestamptz
);

-- Since when the peer has confirmed it, without a break: its service may go by what it read before for some seconds more.
alter table tandem.closed add column if not exists confirmed_at timestamptz;

-- One epoch that two moves have claimed, as this site has seen it: `here` is the line of this database, `there` that of its peer.
-- It stands while that is the newest number here: no move gives anybody to anybody, the halves that are not at home here are
-- drained, and the site is closed until the peer has noted it too.
create table if not exists tandem.fork (
  customer text not null,
  number bigint not null,
  here_site text not null,
  here_move text not null,
  there_site text not null,
  there_move text not null,
  -- Where the other claim was read.
  store text not null,
  seen_at timestamptz not null default clock_timestamp(),
  -- When the peer's own database was first heard to have noted it.
  noted_there_at timestamptz,
  -- Whose line two operators have picked, by which words, as far as this site knows.
  picked text,
  words jsonb,
  ended_at timestamptz,
  primary key (customer, number)
);

-- Operators' signed words to pick the line of a fork, each whole, whichever site they were given at. No nonce counts twice.
create table if not exists tandem.pick_word (
  nonce text primary key,
  customer text not null,
  number bigint not null,
  word jsonb not null,
  at timestamptz not null default now()
);

-- When this site's worker last said that it lives, by this database's own clock: so long ago at the most the site was up.
create table if not exists tandem.alive (
  customer text primary key,
  at timestamptz not null,
  -- Grows whenever a worker of this site sees the peer or the witness: one that sees neither learns of it from the others.
  seen bigint not null default 0
);
-- When that was last, and after how many seconds without it the site serves nobody, whether a worker lives to close it or not. Null: never.
alter table tandem.alive add column if not exists saw_at timestamptz;
alter table tandem.alive add column if not exists self_fence_s double precision;

-- Whether so long has passed. A clock that was set by more than that says nothing, and serves nobody until the next look.
create or replace function tandem.cut_off(of_customer text) returns boolean
language sql stable as $$
  select exists (select from tandem.alive a where a.customer = of_customer
                    and abs(extract(epoch from clock_timestamp() - a.saw_at)) > a.self_fence_s)
$$;

-- Operators' signed words to open this site or to close it, each whole. No nonce counts twice.
create table if not exists tandem.site_word (
  nonce text primary key,
  customer text not null,
  verb text not null check (verb in ('open', 'close')),
  -- The closing that it is for.
  closing uuid not null,
  word jsonb not null,
  at timestamptz not null default now()
);

-- How closings ended. `words` null: no operator had to say so.
create table if not exists tandem.site_opened (
  closing uuid primary key,
  customer text not null,
  kind text not null,
  because text not null,
  since timestamptz not null,
  opened_at timestamptz not null default now(),
  opened_because text not null,
  words jsonb,
  -- The peer or the witness has been seen since. Whom two operators have opened in the dark does not close itself again before.
  seen_since boolean not null default false
);

-- Whether the directory lets a user be served. Where none is in force, it lets everybody.
create or replace function tandem.entitled(who text) returns boolean
language sql stable as $$
  select not exists (select from tandem.directory_answer where at is not null)
      or exists (select from tandem.entitlement where username = who and enabled)
$$;

-- Whether this site may serve a user now. Fails closed: an unknown user, a missing row, an older epoch, a half that is about to be
-- handed over, a site that is closed, quarantine or a directory that has not enabled him is "no".
create or replace function tandem.may_serve(who text) returns boolean
language sql stable as $$
  select coalesce((
    select s.site = i.site and s.epoch = e.number
           and not exists (select from tandem.closed c where c.customer = i.customer)
           and not tandem.cut_off(i.customer)
           and not exists (select from tandem.drained d where d.customer = i.customer and d.half = s.half and d.epoch = e.number)
           and not exists (select from tandem.quarantine q where q.username = who and q.release is null)
           and tandem.entitled(who)
      from tandem.identity i
      join tandem.home h on h.username = who
      join tandem.serving s on s.customer = i.customer and s.half = h.site
      join tandem.epoch e on e.customer = i.customer
  ), false)
$$;

-- The users whom this site has the right to serve, by the same rule; those in quarantine, those who are disabled, those who are
-- about to be handed over, and those of a site that is closed are among them, for their data is this site's to protect.
create or replace view tandem.served as
  select h.username, h.site as half
    from tandem.identity i
    join tandem.serving s on s.customer = i.customer and s.site = i.site
    join tandem.epoch e on e.customer = i.customer and e.number = s.epoch
    join tandem.home h on h.site = s.half;

-- What the peer may do here: see who serves, what moves, what is filtered, by which answer of the directory, and what was applied; close this site under a
-- newer epoch, have it follow one, give it a half to serve under one, and bring along what was archived for its users. Nothing else.
-- Its columns stay as they are: a function cannot be replaced by one of another type, and workers of two builds may start in turn.
-- A site that has the right, and is not open, is closed, or about to hand it over.
create or replace function tandem.observe(out customer text, out half text, out site text, out epoch bigint, out newest bigint, out claimed_by text, out move text, out open boolean)
returns setof record language sql stable security definer set search_path = pg_catalog as $$
  select s.customer, s.half, s.site, s.epoch, e.number, e.site, e.move,
         s.site = i.site and s.epoch = e.number and not exists (select from tandem.closed c where c.customer = i.customer)
           and not tandem.cut_off(i.customer)
           and not exists (select from tandem.drained d where d.customer = i.customer and d.half = s.half and d.epoch = e.number)
    from tandem.identity i
    join tandem.serving s on s.customer = i.customer
    join tandem.epoch e on e.customer = i.customer
$$;

create or replace function tandem.observe_filter(out customer text, out document text, out digest text)
returns setof record language sql stable security definer set search_path = pg_catalog as $$
  select f.customer, f.document, f.digest from tandem.identity i join tandem.filter_policy f on f.customer = i.customer
$$;

-- The policy that this site's service filters by. Behind a lock on the table the reading gives up within a second: the service has
-- few connections, each reading that waits holds one, and sign-ins and block lists would wait behind it.
create or replace function tandem.filter_in_force(out document text, out digest text)
returns setof record language sql stable set search_path = pg_catalog set lock_timeout = '900ms' as $$
  select f.document, f.digest from tandem.identity i join tandem.filter_policy f on f.customer = i.customer
$$;

-- A digest tells nobody's name. What this site goes by, for the peer to hold its own answer against.
create or replace function tandem.observe_directory(out customer text, out at timestamptz, out users integer, out digest text, out digest_at timestamptz)
returns setof record language sql stable security definer set search_path = pg_catalog as $$
  select a.customer, a.at, a.users, a.digest, a.digest_at from tandem.identity i join tandem.directory_answer a on a.customer = i.customer
$$;

-- Which snapshots of which site the standby copy here holds whole.
create or replace function tandem.observe_applied(out customer text, out site text, out gen bigint, out seq bigint, out manifest text, out point timestamptz)
returns setof record language sql stable security definer set search_path = pg_catalog as $$
  select a.customer, a.site, a.gen, a.seq, a.manifest, a.point from tandem.identity i join tandem.applied a on a.customer = i.customer
$$;

-- To how many users of these halves the newest snapshot of that site was not applied; null while that is not known.
create or replace function tandem.observe_held(for_site text, for_halves text[], out customer text, out seq bigint, out held integer)
returns setof record language sql stable security definer set search_path = pg_catalog as $$
  select a.customer, a.seq, case when a.held is not null then coalesce((select sum(n::integer) from jsonb_each_text(a.held) one (half, n) where half = any(for_halves)), 0)::integer
         + coalesce((a.held ->> '')::integer, 0) end
    from tandem.identity i join tandem.applied a on a.customer = i.customer and a.site = for_site
$$;

-- What this site has handed over, and what whoever takes it must hold.
create or replace function tandem.observe_handed(out customer text, out half text, out epoch bigint, out copied_at timestamptz)
returns setof record language sql stable security definer set search_path = pg_catalog as $$
  select h.customer, h.half, h.epoch, h.copied_at from tandem.identity i join tandem.handed h on h.customer = i.customer
$$;

-- The move that is under way here: whose users go where, and how far it has come: its epoch is claimed, the users are let go of.
create or replace function tandem.observe_move(out customer text, out move text, out kind text, out half text, out to_site text, out phase text, out claimed boolean, out handed boolean)
returns setof record language sql stable security definer set search_path = pg_catalog as $$
  select m.customer, m.move, m.kind, m.input ->> 'half', m.input ->> 'to', m.phase,
         exists (select from tandem.epoch e where e.customer = m.customer and e.move = m.move),
         exists (select from tandem.serving s join tandem.epoch e on e.customer = s.customer and e.number = s.epoch and e.move = m.move
                  where s.customer = m.customer and s.half = m.input ->> 'half' and s.site = m.input ->> 'to')
    from tandem.identity i join tandem.move m on m.customer = i.customer and m.ended_at is null
$$;

-- The terms of its newest claim, where it is one of this site's own that leaves something to its peer: for a peer that reads it here alone.
create or replace function tandem.observe_claim(out customer text, out number bigint, out move text, out follows bigint, out keeps text[])
returns setof record language sql stable security definer set search_path = pg_catalog as $$
  select c.customer, c.number, c.move, c.follows, c.keeps
    from tandem.identity i
    join tandem.epoch e on e.customer = i.customer and e.site = i.site
    join tandem.claim c on c.customer = e.customer and c.number = e.number and c.move = e.move and c.keeps is not null
   limit 1
$$;

-- What was changed here and nowhere else: `manifest` null while it is to be salvaged yet.
create or replace function tandem.observe_salvage(out customer text, out half text, out epoch bigint, out manifest text, out released boolean)
returns setof record language sql stable security definer set search_path = pg_catalog as $$
  select s.customer, s.half, s.epoch, s.manifest, s.released_at is not null from tandem.identity i join tandem.salvage s on s.customer = i.customer
  union all
  -- Served here under an older epoch than the newest one.
  select s.customer, s.half, s.epoch, null, false
    from tandem.identity i
    join tandem.serving s on s.customer = i.customer and s.site = i.site
    join tandem.epoch e on e.customer = s.customer and s.epoch < e.number
   where not exists (select from tandem.salvage d where d.customer = s.customer and d.half = s.half and d.epoch = s.epoch)
$$;

-- Who is in which cohort, as a count and a digest: names stay here.
create or replace function tandem.observe_cohorts(out customer text, out half text, out users bigint, out digest text)
returns setof record language sql stable security definer set search_path = pg_catalog as $$
  select s.customer, s.half, count(h.username),
         encode(sha256(convert_to(coalesce(string_agg(h.username, E'\n' order by h.username collate "C"), ''), 'UTF8')), 'hex')
    from tandem.identity i
    join tandem.serving s on s.customer = i.customer and s.half <> tandem.home_of(s.half)
    left join tandem.home h on h.site = s.half and h.username not like 'tandem-probe-%'
   group by s.customer, s.half
$$;

-- What stands against a change of a cohort here; null when nothing does. Locks what it looks at: nobody begins to move meanwhile.
create or replace function tandem.cohort_obstacle(for_customer text, cohort text, asked_by text)
returns text language plpgsql set search_path = pg_catalog as $$
declare own text; held bigint; base tandem.serving%rowtype; part tandem.serving%rowtype;
begin
  lock table tandem.move in share mode;
  select number into held from tandem.epoch e where e.customer = for_customer for update;
  select i.site into own from tandem.identity i where i.customer = for_customer;
  select * into base from tandem.serving s where s.customer = for_customer and s.half = tandem.home_of(cohort) for update;
  select * into part from tandem.serving s where s.customer = for_customer and s.half = cohort for update;
  return case
    when held is null or own is null or base.half is null or cohort = base.half then 'unknown-half'
    when base.site <> asked_by or base.epoch <> held then 'not-served-there'
    when part.half is not null and (part.site <> base.site or part.epoch <> base.epoch) then 'apart'
    when exists (select from tandem.move m where m.customer = for_customer and m.ended_at is null) then 'move-live'
    when exists (select from tandem.drained d where d.customer = for_customer and d.half in (base.half, cohort) and d.epoch = held) then 'drained'
    when exists (select from tandem.salvage s where s.customer = for_customer and s.half in (base.half, cohort) and s.released_at is null) then 'unsalvaged'
    -- What this site has handed over at different times is in different snapshots of its own.
    when base.site <> own and exists (
      select from tandem.handed g join tandem.handed h on h.customer = g.customer
       where g.customer = for_customer and g.half = base.half and h.half = cohort and (g.epoch, g.manifest) is distinct from (h.epoch, h.manifest)) then 'handed-apart'
  end;
end $$;

-- Makes a cohort that nobody is in yet: whoever may serve its half may serve it. Answers `made`, or what stands against it. Safe to
-- repeat. The service has read that before users are put into it: to a service that does not know their half they are nobody's.
create or replace function tandem.make_cohort(for_customer text, cohort text, asked_by text)
returns text language plpgsql security definer set search_path = pg_catalog as $$
declare obstacle text;
begin
  obstacle := tandem.cohort_obstacle(for_customer, cohort, asked_by);
  if obstacle is not null then
    return obstacle;
  end if;
  insert into tandem.serving (customer, half, site, epoch, at)
    select s.customer, cohort, s.site, s.epoch, s.at from tandem.serving s where s.customer = for_customer and s.half = tandem.home_of(cohort)
    on conflict (customer, half) do nothing;
  insert into tandem.handed (customer, half, epoch, copied_at, gen, seq, manifest, at)
    select g.customer, cohort, g.epoch, g.copied_at, g.gen, g.seq, g.manifest, g.at from tandem.handed g
     where g.customer = for_customer and g.half = tandem.home_of(cohort)
    on conflict (customer, half) do nothing;
  return 'made';
end $$;

-- Takes these users of a half into a cohort that was made, and everybody else of it back; nobody in it ends it. Both are the same
-- site's, `asked_by`'s, under one epoch: nobody gains a right by it, or loses one. Answers `divided`, or what stands against it. Safe
-- to repeat.
create or replace function tandem.divide(for_customer text, cohort text, names text[], asked_by text, out outcome text, out users bigint)
language plpgsql security definer set search_path = pg_catalog as $$
declare home text := tandem.home_of(cohort);
begin
  users := 0;
  outcome := tandem.cohort_obstacle(for_customer, cohort, asked_by);
  if outcome is not null then
    return;
  elsif cardinality(names) > 0 and not exists (select from tandem.serving s where s.customer = for_customer and s.half = cohort) then
    outcome := 'not-made';
    return;
  end if;
  select count(*) into users from unnest(names) n where not exists (select from tandem.home h where h.username = n and h.site in (home, cohort));
  if users > 0 then
    outcome := 'not-of-this-half';
    return;
  end if;
  update tandem.home h set site = home where h.site = cohort and (cardinality(names) = 0 or h.username not like 'tandem-probe-%')
    and not exists (select from unnest(names) n where n = h.username);
  update tandem.home h set site = cohort from unnest(names) n where h.username = n and h.site = home;
  if cardinality(names) = 0 then
    delete from tandem.serving s where s.customer = for_customer and s.half = cohort;
    delete from tandem.handed d where d.customer = for_customer and d.half = cohort;
    -- A trigger of an older version takes that for a right that was given away.
    delete from tandem.salvage s where s.customer = for_customer and s.half = cohort and s.released_at is null;
  end if;
  outcome := 'divided';
  select count(*) into users from tandem.home h where h.site = cohort;
end $$;

-- Who is in one: for the other site's own list of them.
create or replace function tandem.cohort_members(for_customer text, cohort text)
returns setof text language sql stable security definer set search_path = pg_catalog as $$
  select h.username from tandem.identity i join tandem.home h on h.site = cohort
   where i.customer = for_customer and cohort <> tandem.home_of(cohort) and h.username not like 'tandem-probe-%'
$$;

-- Who has been given another home, as a count and a digest: names stay here.
create or replace function tandem.observe_rehomed(out customer text, out users bigint, out digest text)
returns setof record language sql stable security definer set search_path = pg_catalog as $$
  select i.customer, count(r.username),
         encode(sha256(convert_to(coalesce(string_agg(r.username || E'\t' || r.home || E'\t' || r.epoch || E'\t' || r.move,
                                                      E'\n' order by r.username collate "C"), ''), 'UTF8')), 'hex')
    from tandem.identity i left join tandem.rehomed r on true
   group by i.customer
$$;

-- The entries themselves: for the other site's own list of them.
create or replace function tandem.rehomed_entries(for_customer text)
returns table (username text, home text, epoch bigint, move text, copied_at timestamptz)
language sql stable security definer set search_path = pg_catalog as $$
  select r.username, r.home, r.epoch, r.move, r.copied_at from tandem.identity i, tandem.rehomed r where i.customer = for_customer
$$;

-- How many users are of these halves here. Accounts that probes make for a moment do not count.
create or replace function tandem.count_users(for_customer text, for_halves text[])
returns bigint language sql stable security definer set search_path = pg_catalog as $$
  select count(*) from tandem.identity i join tandem.home h on h.site = any(for_halves)
   where i.customer = for_customer and h.username not like 'tandem-probe-%'
$$;

-- What stands here against making `to_site` the home of these halves' users; null when nothing does. Only under the very claim of the move
-- that gave them to that site, and while it serves them and its own users: then nobody gains or loses a right by it, and what one site
-- has done and the other not yet makes no difference to who is served. Locks what it looks at.
create or replace function tandem.rehome_obstacle(for_customer text, for_halves text[], to_site text, epoch_number bigint, claiming_site text, claiming_move text)
returns text language plpgsql set search_path = pg_catalog as $$
declare own text; held tandem.epoch%rowtype; at_stake text[] := for_halves || to_site;
begin
  select i.site into own from tandem.identity i where i.customer = for_customer;
  if own is distinct from claiming_site then
    lock table tandem.move in share mode;
  end if;
  select * into held from tandem.epoch e where e.customer = for_customer for update;
  perform from tandem.serving s where s.customer = for_customer for update;
  return case
    when held.customer is null or own is null then 'unknown-customer'
    when held.number < epoch_number then 'behind'
    when (held.number, held.site, held.move) is distinct from (epoch_number, claiming_site, claiming_move) then 'refused'
    when exists (select from tandem.fork f where f.customer = for_customer and f.number = held.number and f.ended_at is null) then 'forked'
    when not exists (select from tandem.serving s where s.customer = for_customer and s.half = to_site and s.site = to_site and s.epoch = held.number) then 'own-half-elsewhere'
    when exists (
      select from unnest(for_halves) w (half) left join tandem.serving s on s.customer = for_customer and s.half = w.half
       where (s.site, s.epoch) is distinct from (to_site, held.number)
         -- A cohort whose users have all been given their home is none any more.
         and not (s.half is null and w.half <> tandem.home_of(w.half) and tandem.count_users(for_customer, array[w.half]) = 0)) then 'not-served-there'
    when exists (select from tandem.drained d where d.customer = for_customer and d.half = any(at_stake) and d.epoch = held.number) then 'drained'
    when exists (select from tandem.salvage s where s.customer = for_customer and s.half = any(at_stake) and s.released_at is null) then 'unsalvaged'
    when exists (select from tandem.move m where m.customer = for_customer and m.ended_at is null and m.move <> claiming_move) then 'move-live'
  end;
end $$;

-- Makes `to_site` the home of these users, who are of these halves; cohorts among them end. Answers `rehomed`, or what stands against it, and
-- of how many users. Safe to repeat.
create or replace function tandem.rehome(for_customer text, for_halves text[], to_site text, names text[], epoch_number bigint, claiming_site text, claiming_move text, copied timestamptz, out outcome text, out newest bigint, out users bigint)
language plpgsql security definer set search_path = pg_catalog as $$
declare cohorts text[] := array(select w from unnest(for_halves) w where w <> tandem.home_of(w));
begin
  outcome := tandem.rehome_obstacle(for_customer, for_halves, to_site, epoch_number, claiming_site, claiming_move);
  select e.number into newest from tandem.epoch e where e.customer = for_customer;
  users := 0;
  if outcome is not null then
    return;
  end if;
  select count(*) into users from tandem.home h join unnest(names) n on n = h.username where h.site <> all(for_halves) and h.site <> to_site;
  if users > 0 then
    outcome := 'not-of-these-halves';
    return;
  end if;
  select count(*) into users from tandem.home h
   where h.site = any(cohorts) and h.username not like 'tandem-probe-%' and not exists (select from unnest(names) n where n = h.username);
  if users > 0 then
    outcome := 'others-in-cohort';
    return;
  end if;
  update tandem.home h set site = to_site
    from (select n from unnest(names) n union select username from tandem.home where site = any(cohorts)) w
   where h.username = w.n and h.site = any(for_halves);
  insert into tandem.rehomed as r (username, home, epoch, move, copied_at) select n, to_site, epoch_number, claiming_move, copied from unnest(names) n
    on conflict (username) do update set home = excluded.home, epoch = excluded.epoch, move = excluded.move, copied_at = excluded.copied_at, at = now()
      where (r.epoch, r.move collate "C") < (excluded.epoch, excluded.move collate "C");
  -- That half has had all of them since then: copies of it from before do not have them, and none here is built upon one that had.
  update tandem.serving s set at = greatest(s.at, came.at)
    from (select max(c.at) as at from tandem.serving c where c.customer = for_customer and c.half = any(for_halves)) came
   where s.customer = for_customer and s.half = to_site;
  delete from tandem.serving s where s.customer = for_customer and s.half = any(cohorts);
  delete from tandem.handed d where d.customer = for_customer and d.half = any(cohorts);
  -- They go on under the right of their new half: nothing of them is to be salvaged.
  delete from tandem.salvage s where s.customer = for_customer and s.half = any(cohorts) and s.epoch = epoch_number and s.manifest is null;
  outcome := 'rehomed';
  users := cardinality(names);
end $$;

-- Takes entries of the other site that are newer than those here, and gives these users their home. What it may not take yet is left, and
-- told in `outcome`: what was changed here is salvaged first, by the half that they were of (`unsalvaged`); and nobody is served from
-- a copy older than the one with which he came (`copy-older`). Where this site serves them under a newer epoch than the entry's, it is the
-- entry that is old, and they are entered here as what they are. Where it serves them under no newer one (`served-twice`), this database has lost that it
-- handed them over: it lets go of the cohort that they are of, or closes itself (`closed` from then on). Otherwise `learnt`. Safe to repeat.
create or replace function tandem.learn_rehomed(for_customer text, told jsonb, out outcome text, out learnt bigint)
language plpgsql security definer set search_path = pg_catalog as $$
declare own text; held tandem.epoch%rowtype; one record; verdicts text[] := '{}'; cohorts text[] := '{}'; homes text[] := '{}';
begin
  learnt := 0;
  select * into held from tandem.epoch e where e.customer = for_customer for update;
  select i.site into own from tandem.identity i where i.customer = for_customer;
  if held.customer is null or own is null then
    outcome := 'unknown-customer';
    return;
  end if;
  for one in
    select judged.*, t.verdict from (
      select t.username, t.home, t.epoch, t.move, t.copied_at, h.site as half, s.epoch as under,
             coalesce(s.site = own and s.epoch = held.number, false) as served, coalesce(n.site = own and n.epoch = held.number, false) as serves
        from jsonb_to_recordset(told) t (username text, home text, epoch bigint, move text, copied_at timestamptz)
        left join tandem.rehomed r on r.username = t.username
        left join tandem.home h on h.username = t.username
        left join tandem.serving s on s.customer = for_customer and s.half = h.site
        left join tandem.serving n on n.customer = for_customer and n.half = t.home
       where r.username is null or (r.epoch, r.move collate "C") < (t.epoch, t.move collate "C")) judged,
      lateral (select case
        when half is null or tandem.home_of(half) = home or (served and serves) then 'learnt'
        when served and under > epoch then 'newer-here'
        when served and half = tandem.home_of(half) and exists (select from tandem.closed c where c.customer = for_customer) then 'closed'
        when served then 'served-twice'
        when exists (select from tandem.salvage d where d.customer = for_customer and d.half = judged.half and d.manifest is null and d.released_at is null)
          or exists (select from tandem.serving s where s.customer = for_customer and s.half = judged.half and s.site = own and s.epoch < held.number
                        and not exists (select from tandem.salvage d where d.customer = s.customer and d.half = s.half and d.epoch = s.epoch)) then 'unsalvaged'
        when serves and not exists (select from tandem.applied a where a.customer = for_customer and a.site <> own and a.point >= judged.copied_at) then 'copy-older'
        else 'learnt' end as verdict) t
  loop
    if one.verdict <> all(verdicts) then
      verdicts := verdicts || one.verdict;
    end if;
    if one.verdict = 'learnt' then
      if tandem.home_of(one.half) <> one.home then
        update tandem.home h set site = one.home where h.username = one.username;
        if one.half <> tandem.home_of(one.half) and one.half <> all(cohorts) then
          cohorts := cohorts || one.half;
        end if;
        if one.home <> all(homes) then
          homes := homes || one.home;
        end if;
      end if;
      learnt := learnt + 1;
    elsif one.verdict = 'newer-here' then
      one.home := tandem.home_of(one.half);
      one.epoch := one.under;
      one.move := held.move;
    elsif one.verdict = 'served-twice' and one.half <> tandem.home_of(one.half) then
      update tandem.serving s set site = one.home, epoch = held.number, at = clock_timestamp()
       where s.customer = for_customer and s.half = one.half and s.site = own;
      insert into tandem.handed (customer, half, epoch, copied_at) values (for_customer, one.half, held.number, one.copied_at) on conflict do nothing;
    elsif one.verdict = 'served-twice' then
      insert into tandem.closed (customer, kind, because)
        values (for_customer, 'was-down', 'its database has lost that users of ' || one.half || ' were handed over, and are at home at ' || one.home)
        on conflict do nothing;
    end if;
    if one.verdict in ('learnt', 'newer-here') then
      insert into tandem.rehomed as r (username, home, epoch, move, copied_at) values (one.username, one.home, one.epoch, one.move, one.copied_at)
        on conflict (username) do update set home = excluded.home, epoch = excluded.epoch, move = excluded.move, copied_at = excluded.copied_at, at = now();
    end if;
  end loop;
  -- Whoever came has come now, and who has nobody left is none any more.
  update tandem.serving s set at = clock_timestamp() where s.customer = for_customer and s.half = any(homes);
  delete from tandem.serving s where s.customer = for_customer and s.half = any(cohorts) and not exists (select from tandem.home h where h.site = s.half);
  delete from tandem.handed d where d.customer = for_customer and d.half = any(cohorts) and not exists (select from tandem.home h where h.site = d.half);
  outcome := coalesce((select v from unnest(array['served-twice', 'closed', 'unsalvaged', 'copy-older']) v where v = any(verdicts) limit 1), 'learnt');
end $$;

-- After how many seconds without its peer and the witness this site serves nobody, as its worker had it when it last saw one of them; null: never.
-- Nothing of a worker that has seen nobody yet.
create or replace function tandem.observe_self_fence(out customer text, out seconds double precision)
returns setof record language sql stable security definer set search_path = pg_catalog as $$
  select a.customer, a.self_fence_s from tandem.identity i join tandem.alive a on a.customer = i.customer where a.seen > 0
$$;

-- The fork that stands here; none when there is none.
create or replace function tandem.observe_fork(out customer text, out number bigint, out here_site text, out here_move text, out there_site text, out there_move text)
returns setof record language sql stable security definer set search_path = pg_catalog as $$
  select f.customer, f.number, f.here_site, f.here_move, f.there_site, f.there_move
    from tandem.identity i
    join tandem.epoch e on e.customer = i.customer
    join tandem.fork f on f.customer = e.customer and f.number = e.number and f.ended_at is null
$$;

-- The words by which operators pick its line: signed, so that it is the peer's to judge them.
create or replace function tandem.observe_picks(out customer text, out number bigint, out word jsonb)
returns setof record language sql stable security definer set search_path = pg_catalog as $$
  select w.customer, w.number, w.word
    from tandem.identity i
    join tandem.epoch e on e.customer = i.customer
    join tandem.pick_word w on w.customer = e.customer and w.number = e.number
$$;

-- Takes a newer epoch and leaves every serving row behind it: closed at once, in one transaction. Refuses an older one.
create or replace function tandem.fence(for_customer text, epoch_number bigint, claiming_site text, claiming_move text)
returns table (outcome text, newest bigint) language plpgsql security definer set search_path = pg_catalog as $$
declare held tandem.epoch%rowtype;
begin
  select * into held from tandem.epoch e where e.customer = for_customer for update;
  if not found then
    return query select 'unknown-customer', 0::bigint;
  elsif held.number = epoch_number and held.site = claiming_site and held.move = claiming_move then
    return query select 'closed', held.number;
  elsif held.number >= epoch_number then
    return query select 'refused', held.number;
  else
    update tandem.epoch e set number = epoch_number, site = claiming_site, move = claiming_move, at = now() where e.customer = for_customer;
    return query select 'closed', epoch_number;
  end if;
end $$;

-- What a site takes along when it obeys the claim of a planned move, under its epoch's lock: it goes on serving those halves among
-- `keeps` that it served under the very epoch which the claim follows (null: none), and knows under the new number what its peer serves. All else is left behind, closed. Answers how many it goes on serving.
create or replace function tandem.take_along(for_customer text, held_number bigint, epoch_number bigint, claiming_site text, follows bigint, keeps text[])
returns integer language plpgsql set search_path = pg_catalog as $$
declare own text; kept integer;
begin
  select i.site into own from tandem.identity i where i.customer = for_customer;
  -- Who serves them does not change, nor since when: copies of them from before count as they did.
  update tandem.serving s set epoch = epoch_number
   where s.customer = for_customer and s.site = own and s.epoch = held_number and s.half = any(keeps)
     and held_number = follows;
  get diagnostics kept = row_count;
  update tandem.serving s set epoch = epoch_number
   where s.customer = for_customer and s.site = claiming_site and s.site <> own and s.epoch < epoch_number;
  return kept;
end $$;

-- Takes the newer epoch of a planned move, and goes on serving what its claim leaves to this site. Refuses an older one.
create or replace function tandem.follow(for_customer text, epoch_number bigint, claiming_site text, claiming_move text, follows bigint, keeps text[])
returns table (outcome text, newest bigint) language plpgsql security definer set search_path = pg_catalog as $$
declare held tandem.epoch%rowtype;
begin
  select * into held from tandem.epoch e where e.customer = for_customer for update;
  if not found then
    return query select 'unknown-customer', 0::bigint;
  elsif held.number = epoch_number and held.site = claiming_site and held.move = claiming_move then
    return query select 'follows', held.number;
  elsif held.number >= epoch_number then
    return query select 'refused', held.number;
  else
    update tandem.epoch e set number = epoch_number, site = claiming_site, move = claiming_move, at = now() where e.customer = for_customer;
    perform tandem.take_along(for_customer, held.number, epoch_number, claiming_site, follows, keeps);
    return query select 'follows', epoch_number;
  end if;
end $$;

-- Gives this site the right to serve one half, under a newer epoch: whoever held that right, or was about to, has let go of it in
-- its own database before. What else this site served stays as it is: closed, when the epoch that it held is an older one. What is
-- the claimant's is known under the new number.
create or replace function tandem.hand_over(for_customer text, for_half text, epoch_number bigint, claiming_site text, claiming_move text)
returns table (outcome text, newest bigint) language plpgsql security definer set search_path = pg_catalog as $$
declare held tandem.epoch%rowtype; own text;
begin
  select * into held from tandem.epoch e where e.customer = for_customer for update;
  select i.site into own from tandem.identity i where i.customer = for_customer;
  if held.customer is null or own is null then
    return query select 'unknown-customer', 0::bigint;
    return;
  elsif held.number = epoch_number and held.site = claiming_site and held.move = claiming_move then
    null;
  elsif held.number >= epoch_number then
    return query select 'refused', held.number;
    return;
  else
    update tandem.epoch e set number = epoch_number, site = claiming_site, move = claiming_move, at = now() where e.customer = for_customer;
  end if;
  insert into tandem.serving as s (customer, half, site, epoch) values (for_customer, for_half, own, epoch_number)
    on conflict (customer, half) do update set site = excluded.site, epoch = excluded.epoch, at = now();
  update tandem.serving s set epoch = epoch_number, at = now()
   where s.customer = for_customer and s.site = claiming_site and s.site <> own and s.epoch < epoch_number;
  return query select 'open', epoch_number;
end $$;

-- The way home of a half has committed: what was salvaged of it under that epoch was brought together, and is needed no more; older
-- salvages were not, and are kept. Only where this site
-- has the right to serve the half under that epoch, or a newer one; what is not salvaged stays due. Answers how many it let go.
create or replace function tandem.release_salvages(for_customer text, for_half text, of_epoch bigint)
returns bigint language sql security definer set search_path = pg_catalog as $$
  with released as (
    update tandem.salvage s set released_at = now()
      from tandem.identity i
      join tandem.serving r on r.customer = i.customer and r.site = i.site
      join tandem.epoch e on e.customer = r.customer and e.number = r.epoch
     where i.customer = for_customer and r.half = for_half and r.epoch > of_epoch
       and s.customer = r.customer and s.half = r.half and s.epoch = of_epoch
       and s.manifest is not null and s.released_at is null
    returning s.epoch)
  select count(*) from released
$$;

-- The same of a half that the peer goes on serving, and has brought together with what was salvaged of it here: only where this site has it
-- as the peer's under a newer epoch. Answers whether nothing of it is kept any more.
create or replace function tandem.release_stayed(for_customer text, for_half text, of_epoch bigint)
returns boolean language plpgsql security definer set search_path = pg_catalog as $$
begin
  update tandem.salvage s set released_at = now()
    from tandem.identity i
    join tandem.serving r on r.customer = i.customer and r.site <> i.site
    join tandem.epoch e on e.customer = r.customer and e.number = r.epoch
   where i.customer = for_customer and r.half = for_half and r.epoch > of_epoch
     and s.customer = r.customer and s.half = r.half and s.epoch = of_epoch
     and s.manifest is not null and s.released_at is null;
  return not exists (select from tandem.salvage s where s.customer = for_customer and s.half = for_half and s.epoch = of_epoch and s.released_at is null);
end $$;

-- Whether rows can be brought into the archive here: `missing`, `refused` for want of rights, `ready`; and its columns as they are written,
-- each with its type. The number of a row is each database's own.
create or replace function tandem.observe_archive(out state text, out columns text[])
language sql stable security definer set search_path = pg_catalog as $$
  select case when t.oid is null then 'missing'
              when has_table_privilege(t.oid, 'select') and has_table_privilege(t.oid, 'insert')
                   and coalesce((select has_sequence_privilege(pg_get_serial_sequence('public.archive', a.attname), 'usage, update')
                                   from pg_attribute a where a.attrelid = t.oid and a.attname = 'id' and a.attidentity = ''), true) then 'ready'
              else 'refused' end,
         (select coalesce(array_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod) order by a.attname), '{}')
            from pg_attribute a
           where a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped and a.attname <> 'id' and a.attgenerated = '')
    from (select to_regclass('public.archive') as oid) t
$$;

-- What tells one archived message of a user and a moment from another.
create or replace function tandem.archive_digest(peer text, kind text, xml text) returns text language sql stable as $$
  select encode(sha256(convert_to(jsonb_build_array(peer, kind, xml)::text, 'UTF8')), 'hex')
$$;

-- Of rows of the peer's archive, told as [user, timestamp, digest]: which are not here, by their places; and which are of users who are of
-- none of these halves here.
create or replace function tandem.archive_lacks(for_halves text[], told jsonb, out lacking integer[], out strangers integer[])
language plpgsql stable security definer set search_path = pg_catalog as $$
begin
  select coalesce(array_agg(k.place::integer order by k.place) filter (where k.home and not k.here), '{}'),
         coalesce(array_agg(k.place::integer) filter (where not k.home), '{}')
    into lacking, strangers
    from (select r.place,
                 exists (select from tandem.home h where h.username = r.one ->> 0 and h.site = any(for_halves)) as home,
                 exists (select from public.archive d where d.username = r.one ->> 0 and d.timestamp = (r.one ->> 1)::bigint
                            and tandem.archive_digest(d.peer, d.kind, d.xml) = r.one ->> 2) as here
            from jsonb_array_elements(told) with ordinality r (one, place)) k;
end $$;

-- Takes rows of the peer's archive that are not here, for users of halves that this site serves under this very epoch, and notes how far the
-- step has come by it (`batch`), both or neither. `overtaken` when another attempt has gone on from where this one stands. Without rows it
-- only answers how it stands.
create or replace function tandem.take_archive(for_customer text, for_halves text[], for_key text, epoch_number bigint, claiming_site text, claiming_move text, told jsonb, batch jsonb)
returns table (outcome text, newest bigint, stand jsonb) language plpgsql security definer set search_path = pg_catalog set lock_timeout = '2s' as $$
declare held tandem.epoch%rowtype; own text; reached tandem.archive_brought%rowtype; names text; known integer; taken bigint;
begin
  select * into held from tandem.epoch e where e.customer = for_customer for share;
  select i.site into own from tandem.identity i where i.customer = for_customer;
  outcome := case
    when held.customer is null or own is null then 'unknown-customer'
    when held.number > epoch_number or (held.number = epoch_number and (held.site, held.move) is distinct from (claiming_site, claiming_move)) then 'refused'
    when held.number < epoch_number then 'behind'
    when exists (select from tandem.fork f where f.customer = for_customer and f.number = held.number and f.ended_at is null) then 'forked'
    when exists (select from unnest(for_halves) wanted (half) where not exists (
           select from tandem.serving s where s.customer = for_customer and s.half = wanted.half and s.site = own and s.epoch = held.number)) then 'not-its-own'
    else 'taken' end;
  newest := held.number;
  -- Attempts of one step may overlap: what the one has written, the other sees.
  if outcome = 'taken' then
    perform pg_advisory_xact_lock(hashtextextended('tandem.archive ' || for_customer, 0));
    select * into reached from tandem.archive_brought b where b.key = for_key;
  end if;
  if outcome = 'taken' and told is not null then
    select string_agg(quote_ident(a.attname), ', '), count(*) into names, known from pg_attribute a
     where a.attrelid = 'public.archive'::regclass and batch -> 'columns' ? (quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod));
    if (reached.reached_at, reached.reached_id) is distinct from ((batch -> 'from' ->> 'at')::bigint, (batch -> 'from' ->> 'id')::bigint) then
      outcome := 'overtaken';
    elsif known <> jsonb_array_length(batch -> 'columns') then
      outcome := 'differs';
    else
      execute format(
        'insert into public.archive (%1$s) select %1$s from (
           select distinct on (r.username, r.timestamp, r.peer, r.kind, r.xml) r.* from jsonb_populate_recordset(null::public.archive, $1) r
            where exists (select from tandem.home h where h.username = r.username and h.site = any($2))
              and not exists (select from public.archive d where d.username = r.username and d.timestamp = r.timestamp
                                 and d.peer = r.peer and d.kind is not distinct from r.kind and d.xml = r.xml)) new order by timestamp', names)
        using told, for_halves;
      get diagnostics taken = row_count;
      delete from tandem.archive_brought b where b.customer = for_customer and b.epoch < epoch_number;
      insert into tandem.archive_brought as b (key, customer, epoch, reached_at, reached_id, looked, brought, strangers)
        values (for_key, for_customer, epoch_number, (batch -> 'to' ->> 'at')::bigint, (batch -> 'to' ->> 'id')::bigint,
                (batch ->> 'looked')::bigint, taken, (batch ->> 'strangers')::bigint)
        on conflict (key) do update set reached_at = excluded.reached_at, reached_id = excluded.reached_id, at = now(),
                looked = b.looked + excluded.looked, brought = b.brought + excluded.brought, strangers = b.strangers + excluded.strangers
        returning b.* into reached;
    end if;
  end if;
  if reached.key is not null then
    stand := jsonb_build_object('at', reached.reached_at, 'id', reached.reached_id, 'looked', reached.looked, 'brought', reached.brought, 'strangers', reached.strangers);
  end if;
  return next;
end $$;

-- The same in a planned move: `behind` while this site does not hold a snapshot of the claimant of this point, or a newer one; and while
-- it has its own rows of an older epoch for its copy, as one has that was put back to a backup: nothing was brought over those.
create or replace function tandem.hand_over(for_customer text, for_half text, epoch_number bigint, claiming_site text, claiming_move text, copied_at timestamptz)
returns table (outcome text, newest bigint) language plpgsql security definer set search_path = pg_catalog as $$
begin
  if not exists (select from tandem.applied a where a.customer = for_customer and a.site = claiming_site and a.point >= copied_at)
     or exists (select from tandem.serving s join tandem.identity i on i.customer = s.customer and i.site = s.site
                 where s.customer = for_customer and s.half = for_half and s.epoch < epoch_number) then
    return query select 'behind', (select e.number from tandem.epoch e where e.customer = for_customer);
  else
    return query select * from tandem.hand_over(for_customer, for_half, epoch_number, claiming_site, claiming_move);
  end if;
end $$;

revoke all on function tandem.hand_over(text, text, bigint, text, text, timestamptz) from public;
revoke all on function tandem.observe_held(text, text[]) from public;
revoke all on function tandem.observe_handed() from public;
revoke all on function tandem.observe_claim() from public;
revoke all on function tandem.observe_move() from public;
revoke all on function tandem.take_along(text, bigint, bigint, text, bigint, text[]) from public;
revoke all on function tandem.follow(text, bigint, text, text, bigint, text[]) from public;
revoke all on function tandem.hand_over(text, text, bigint, text, text) from public;
revoke all on function tandem.release_salvages(text, text, bigint) from public;
revoke all on function tandem.release_stayed(text, text, bigint) from public;
revoke all on function tandem.observe_archive() from public;
revoke all on function tandem.archive_lacks(text[], jsonb) from public;
revoke all on function tandem.take_archive(text, text[], text, bigint, text, text, jsonb, jsonb) from public;
revoke all on function tandem.observe() from public;
revoke all on function tandem.observe_filter() from public;
revoke all on function tandem.observe_directory() from public;
revoke all on function tandem.observe_applied() from public;
revoke all on function tandem.observe_salvage() from public;
revoke all on function tandem.observe_self_fence() from public;
revoke all on function tandem.observe_fork() from public;
revoke all on function tandem.observe_cohorts() from public;
revoke all on function tandem.cohort_obstacle(text, text, text) from public;
revoke all on function tandem.make_cohort(text, text, text) from public;
revoke all on function tandem.divide(text, text, text[], text) from public;
revoke all on function tandem.cohort_members(text, text) from public;
revoke all on function tandem.observe_rehomed() from public;
revoke all on function tandem.rehomed_entries(text) from public;
revoke all on function tandem.count_users(text, text[]) from public;
revoke all on function tandem.rehome(text, text[], text, text[], bigint, text, text, timestamptz) from public;
revoke all on function tandem.learn_rehomed(text, jsonb) from public;
revoke all on function tandem.rehome_obstacle(text, text[], text, bigint, text, text) from public;
revoke all on function tandem.observe_picks() from public;
revoke all on function tandem.fence(text, bigint, text, text) from public;
do $$ begin
  if exists (select from pg_roles where rolname = 'tandem_peer') then
    grant usage on schema tandem to tandem_peer;
    grant execute on function tandem.observe() to tandem_peer;
    grant execute on function tandem.observe_filter() to tandem_peer;
    grant execute on function tandem.observe_directory() to tandem_peer;
    grant execute on function tandem.observe_applied() to tandem_peer;
    grant execute on function tandem.observe_salvage() to tandem_peer;
    grant execute on function tandem.observe_self_fence() to tandem_peer;
    grant execute on function tandem.observe_fork() to tandem_peer;
    grant execute on function tandem.observe_cohorts() to tandem_peer;
    grant execute on function tandem.make_cohort(text, text, text) to tandem_peer;
    grant execute on function tandem.divide(text, text, text[], text) to tandem_peer;
    grant execute on function tandem.cohort_members(text, text) to tandem_peer;
    grant execute on function tandem.observe_rehomed() to tandem_peer;
    grant execute on function tandem.rehomed_entries(text) to tandem_peer;
    grant execute on function tandem.count_users(text, text[]) to tandem_peer;
    grant execute on function tandem.rehome(text, text[], text, text[], bigint, text, text, timestamptz) to tandem_peer;
    grant execute on function tandem.learn_rehomed(text, jsonb) to tandem_peer;
    grant execute on function tandem.observe_picks() to tandem_peer;
    grant execute on function tandem.fence(text, bigint, text, text) to tandem_peer;
    grant execute on function tandem.follow(text, bigint, text, text, bigint, text[]) to tandem_peer;
    grant execute on function tandem.hand_over(text, text, bigint, text, text) to tandem_peer;
    grant execute on function tandem.hand_over(text, text, bigint, text, text, timestamptz) to tandem_peer;
    grant execute on function tandem.observe_held(text, text[]) to tandem_peer;
    grant execute on function tandem.observe_handed() to tandem_peer;
    grant execute on function tandem.observe_claim() to tandem_peer;
    grant execute on function tandem.observe_move() to tandem_peer;
    grant execute on function tandem.release_salvages(text, text, bigint) to tandem_peer;
    grant execute on function tandem.release_stayed(text, text, bigint) to tandem_peer;
    grant execute on function tandem.observe_archive() to tandem_peer;
    grant execute on function tandem.archive_lacks(text[], jsonb) to tandem_peer;
    grant execute on function tandem.take_archive(text, text[], text, bigint, text, text, jsonb, jsonb) to tandem_peer;
  end if;
  -- What the service obeys, it can read and never write.
  if exists (select from pg_roles where rolname = 'tandem_service') then
    grant usage on schema tandem to tandem_service;
    grant select on tandem.identity, tandem.epoch, tandem.serving, tandem.home, tandem.quarantine, tandem.entitlement,
                    tandem.directory_answer, tandem.filter_policy, tandem.closed, tandem.drained, tandem.alive to tandem_service;
  end if;
end $$;
