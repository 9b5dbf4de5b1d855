%% What is wrong with how this ejabberd is configured, for a service that is restored and moved by its tables: what `tandem
%% doctor` asks over the API. It looks at the options that count, and changes nothing.
%%
%% Licensed as mod_tandem is.
-module(mod_tandem_doctor).

-export([faults/1, modules/1]).

%% Without these there are no contacts or block lists to be moved.
-define(NEEDED, [mod_roster, mod_privacy, mod_blocking]).
%% Each may keep what it has read of a table, and may keep it elsewhere than in SQL. mod_blocking has the tables of mod_privacy.
-define(STORED, [mod_roster, mod_privacy, mod_last, mod_offline, mod_private, mod_vcard, mod_mam]).
%% They let clients in who never bind a resource: the right to serve is asked for then.
-define(BESIDES, [mod_mqtt, mod_sip]).
%% A site that swallows packets is missed after this at the latest, s: until then what is sent to its users waits.
-define(TICKS, 15).
%% Whether anything listens where the peer's node should be. ms.
-define(ANSWER, 1000).

%% Connections that wait to be taken in. ejabberd's own default is five.
-define(QUEUE, 100).

%% One text a fault: the option as ejabberd.yml names it, what it is, and why it may not be.
faults(Host) ->
    lists:append([accounts(Host), schema(), missing(Host), besides(Host), queues(), ticks(), names(Host), linked(Host)
                  | [stored(Host, Module) || Module <- ?STORED]]).

%% By name.
modules(Host) -> [atom_to_binary(Module) || Module <- gen_mod:loaded_modules(Host)].

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

%% What ejabberd.yml says of it counts a minute after the start.
ticks() ->
    Seconds = case net_kernel:get_net_ticktime() of
        {_, New} -> New;
        ignored -> 0;
        Now -> Now
    end,
    [text("net_ticktime: ~b s; a peer that swallows packets is missed only then, at most ~b is allowed", [Seconds, ?TICKS])
     || Seconds > ?TICKS].

%% Under another site's name it would serve the other half.
names(Host) ->
    #{site := Site, peer := Peer} = mod_tandem_rights:own(Host),
    Read = catch ejabberd_sql:sql_query(Host,
        <<"select i.site, s.half from tandem.identity i join tandem.serving s on s.customer = i.customer">>),
    case Read of
        {selected, _, [[Own, _] | _] = Rows} ->
            Others = lists:usort([Half || [_, Half] <- Rows, Half =/= Own]),
            [text("modules.mod_tandem.site: ~ts; this database is that of ~ts", [Site, Own]) || Site =/= Own]
                ++ [text("modules.mod_tandem.peer: ~ts; the other site is ~ts", [Peer, lists:join(", ", Others)])
                    || Site =:= Own, not lists:member(Peer, Others)];
        _ -> []
    end.

linked(Host) ->
    case mod_tandem_rights:own(Host) of
        #{node := none} -> [<<"modules.mod_tandem.peer_node: is not there; users of the two sites do not reach each other">>];
        #{node := Node} ->
            [text("modules.mod_tandem.peer_node: ~ts is not connected: ~ts", [Node, unlinked(Node)])
             || not lists:member(Node, nodes())]
    end.

unlinked(Node) ->
    Parts = string:split(atom_to_list(Node), "@"),
    case Parts of
        [Name, At] ->
            case catch erl_epmd:port_please(Name, At, ?ANSWER) of
                {port, Port, _} -> reached(gen_tcp:connect(At, Port, [], ?ANSWER));
                _ -> reached(none)
            end;
        _ -> "it is no name of a node, NAME@ADDRESS"
    end.

reached({ok, Socket}) ->
    gen_tcp:close(Socket),
    "it is there, and refuses: another cookie, or another name";
reached(_) -> "nothing answers there".

missing(Host) ->
    [text("modules: ~ts is not among them; contacts and block lists need it", [Module])
     || Module <- ?NEEDED, not gen_mod:is_loaded(Host, Module)]
        ++ [<<"modules: mod_tandem_filter is not among them; what users send is not filtered">>
            || not gen_mod:is_loaded(Host, mod_tandem_filter)].

besides(Host) ->
    [text("modules: ~ts; its clients are not asked for the right to serve", [Module])
     || Module <- ?BESIDES, gen_mod:is_loaded(Host, Module)].

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
