import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { sqlConnection } from '../../ops/reference-service/ejabberd/configuration.ts';
import { findEjabberd } from '../../ops/reference-service/ejabberd/installed.ts';

const LIMIT_MS = 60_000;

const ejabberd = findEjabberd();
export const hasEjabberd = ejabberd !== null;

/** What ejabberd itself reads of users: contacts and lists in all, and for each user a hash of all that it has of him. */
export interface Seen {
  contacts: number;
  items: number;
  users: Map<string, string>;
}

/** Starts an ejabberd that listens to nobody upon a database, asks its own roster and privacy modules, and ends it. */
export async function seenByEjabberd(databaseUrl: string, usernames: readonly string[]): Promise<Seen> {
  const folder = await mkdtemp(join(tmpdir(), 'tandem-ejabberd-'));
  try {
    const names = usernames.map((name) => `"${Buffer.from(name).toString('base64')}".`);
    await writeFile(join(folder, 'names'), names.join('\n'));
    await writeFile(join(folder, 'ejabberd.yml'), configuration(databaseUrl), { mode: 0o600 });
    const paths = ['-noinput', '-mnesia', 'dir', JSON.stringify(join(folder, 'spool')), '-eval', PROGRAM];
    const env = {
      PATH: process.env['PATH'] ?? '',
      HOME: folder,
      ERL_LIBS: ejabberd?.libraries ?? '',
      ERL_CRASH_DUMP_BYTES: '0',
      EJABBERD_CONFIG_PATH: join(folder, 'ejabberd.yml'),
      EJABBERD_LOG_PATH: join(folder, 'ejabberd.log'),
      CONTRIB_MODULES_PATH: join(folder, 'modules'),
      CONTRIB_MODULES_CONF_DIR: join(folder, 'modules'),
    };
    await promisify(execFile)('/usr/bin/erl', paths, { cwd: folder, env, timeout: LIMIT_MS }).catch(
      async (error: unknown) => {
        const log = await readFile(join(folder, 'ejabberd.log'), 'utf8').catch(() => 'no log');
        throw new Error(`ejabberd: ${String(error)}\n${log.slice(-2000)}`, { cause: error });
      },
    );
    const [totals = '', ...lines] = (await readFile(join(folder, 'seen'), 'utf8')).trim().split('\n');
    const [contacts = 0, items = 0] = totals.split(' ').map(Number);
    const users = lines.map((line, i): [string, string] => [usernames[i] ?? '', line]);
    return { contacts, items, users: new Map(users) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** No listener, no cache: what is asked is read from the tables at that moment. */
function configuration(databaseUrl: string): string {
  return JSON.stringify({
    hosts: ['acme.example'],
    loglevel: 'warning',
    auth_method: ['sql'],
    default_db: 'sql',
    use_cache: false,
    auth_use_cache: false,
    new_sql_schema: false,
    ...sqlConnection(databaseUrl),
    sql_pool_size: 2,
    listen: [],
    modules: { mod_roster: {}, mod_privacy: {} },
  });
}

const PROGRAM = `
  ejabberd:start(),
  (fun Wait(0) -> halt(2); Wait(N) ->
     case lists:member(<<"acme.example">>, ejabberd_option:hosts()) andalso ejabberd_sql:sql_query(<<"acme.example">>, <<"select 1">>) of
       {selected, _, _} -> ok;
       _ -> timer:sleep(100), Wait(N - 1)
     end
   end)(200),
  {ok, Names} = file:consult("names"),
  Host = <<"acme.example">>,
  %% Rows come in the order in which they lie.
  Sorted = fun S(L) when is_list(L) -> lists:sort([S(X) || X <- L]);
               S(T) when is_tuple(T) -> list_to_tuple([S(X) || X <- tuple_to_list(T)]);
               S(X) -> X
           end,
  Seen = [begin
     User = base64:decode(Name),
     Roster = mod_roster:get_roster(User, Host),
     Lists = case mod_privacy:get_user_lists(User, Host) of {ok, Privacy} -> Privacy; Other -> Other end,
     Items = case Lists of {privacy, _, _, All} -> lists:sum([length(I) || {_, I} <- All]); _ -> 0 end,
     {length(Roster), Items, base64:encode(crypto:hash(sha256, term_to_binary(Sorted({Roster, Lists}))))}
   end || Name <- Names],
  Lines = [[integer_to_list(lists:sum([C || {C, _, _} <- Seen])), " ", integer_to_list(lists:sum([I || {_, I, _} <- Seen]))] | [H || {_, _, H} <- Seen]],
  ok = file:write_file("seen", lists:join("\\n", Lines)),
  halt(0, [{flush, false}]).
`;
