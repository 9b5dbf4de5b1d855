%% What is wrong with how this ejabberd is configured, for a service that is restored and moved by its tables: what `tandem
%% doctor` asks over the API. It looks at the options that count, and changes nothing.
%%
%% Licensed as mod_tandem is.
-module(mod_tandem_doctor).

-export([faults/1]).

%% Without these there are no contacts or block lists to be moved.
-define(NEEDED, [mod_roster, mod_privacy, mod_blocking]).
%% Each may keep what it has read of a table, and may keep it elsewhere than in SQL. mod_blocking has the tables of mod_privacy.
-define(STORED, [mod_roster, mod_privacy, mod_last, mod_offline, mod_private, mod_vcard, mod_mam]).

%% Connections that wait to be taken in. ejabberd's own default is five.
-define(QUEUE, 100).

%% One text a fault: the option as ejabberd.yml names it, what it is, and why it may not be.
faults(Host) ->
    lists:append([accounts(Host), schema(), missing(Host), queues() | [stored(Host, Module) || Module <- ?STORED]]).

accounts(Host) ->
    [<<"auth_use_cache: true; an account that was disabled would still sign in">> || ejabberd_option:auth_use_cache()]
        ++ [<<"auth_method: sql is not in it; accounts must be in the site's database">>
            || not lists:member(ejabberd_auth_sql, ejabberd_auth:auth_modules(Host))].

schema() ->
    [<<"new_sql_schema: true; the tables without a host column are read and written">> || ejabberd_option:new_sql_schema()].

%% Whoever finds the queue full is not refused: his connection looks open, and is silent until it gives up.
queues() ->
    [text("listen: port ~b: backlog: ~b; at least ~b, or who comes from a lost site with all others hangs", [Port, Queue, ?QUEUE])
     || {{Port, _, tcp}, ejabberd_c2s, #{backlog := Queue}} <- ejabberd_option:listen(), Queue < ?QUEUE].

missing(Host) ->
    [text("modules: ~ts is not among them; contacts and block lists need it", [Module])
     || Module <- ?NEEDED, not gen_mod:is_loaded(Host, Module)]
        ++ [<<"modules: mod_tandem_filter is not among them; what users send is not filtered">>
            || not gen_mod:is_loaded(Host, mod_tandem_filter)].

stored(Host, Module) ->
    case gen_mod:is_loaded(Host, Module) of
        false -> [];
        true ->
            [text("modules.~ts.use_cache: true; what a restore brings, a block list too, would not be in force", [Module])
             || option(Host, Module, use_cache) =:= true]
                ++ [text("modules.~ts.db_type: ~ts; it must be sql", [Module, Kept])
                    || Kept <- [option(Host, Module, db_type)], Kept =/= sql, Kept =/= none]
    end.

%% none where the module has no such option.
option(Host, Module, Name) ->
    try gen_mod:get_module_opt(Host, Module, Name)
    catch _:_ -> none
    end.

text(Format, Args) -> unicode:characters_to_binary(io_lib:format(Format, Args)).
