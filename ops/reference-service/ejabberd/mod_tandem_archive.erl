%% Content archiving keeps the messages of all users: neither a hint in a message (XEP-0334) nor a preference of a user
%% (XEP-0313) takes one out of mod_mam's archive.
%%
%% Licensed as mod_tandem is.
-module(mod_tandem_archive).
-behaviour(gen_mod).

-export([start/2, stop/1, reload/3, depends/2, mod_options/1, mod_doc/0]).
-export([sent/1, routed/1, archiving/1]).

-include_lib("p1_xmpp/include/xmpp.hrl").
-include("ejabberd_commands.hrl").

%% Behind the filter (5) and mod_tandem (10), before mod_mam (88).
-define(BEFORE, 80).

depends(_, _) -> [{mod_mam, hard}].

mod_doc() -> #{desc => <<"Keeps users from taking messages out of the archive.">>}.

mod_options(_) -> [].

start(Host, _) ->
    ejabberd_hooks:add(user_send_packet, Host, ?MODULE, sent, ?BEFORE),
    ejabberd_hooks:add(filter_packet, ?MODULE, routed, ?BEFORE),
    ejabberd_commands:register_commands(?MODULE, commands()),
    ok.

stop(Host) ->
    ejabberd_commands:unregister_commands(commands()),
    ejabberd_hooks:delete(filter_packet, ?MODULE, routed, ?BEFORE),
    ejabberd_hooks:delete(user_send_packet, Host, ?MODULE, sent, ?BEFORE).

reload(_, _, _) -> ok.

sent({Packet, State}) -> {kept(Packet), State}.

routed(Packet) -> kept(Packet).

%% mod_mam keeps what asks to be stored, whatever else it asks; a room keeps its own.
kept(#message{type = Type, body = Body, subject = Subject} = Message) when Type =/= error, Type =/= groupchat ->
    Store = #hint{type = store},
    case (xmpp:get_text(Body) =/= <<>> orelse xmpp:get_text(Subject) =/= <<>>) andalso not xmpp:has_subtag(Message, Store) of
        true -> xmpp:append_subtags(Message, [Store]);
        false -> Message
    end;
kept(Packet) -> Packet.

%% `on`, or why not every message is kept.
archiving(Host) ->
    case gen_mod:is_loaded(Host, mod_mam) of
        false -> <<"mod_mam is not among the modules">>;
        true ->
            Wrong = [<<(atom_to_binary(Name))/binary, " of mod_mam is not ", (atom_to_binary(Needed))/binary>>
                     || {Name, Needed} <- [{default, always}, {access_preferences, none}, {db_type, sql}],
                        gen_mod:get_module_opt(Host, mod_mam, Name) =/= Needed],
            case Wrong ++ preferences(Host) of
                [] -> <<"on">>;
                [First | _] -> First
            end
    end.

%% From a time in which users could set them.
preferences(Host) ->
    case catch ejabberd_sql:sql_query(Host,
        <<"select count(*) from archive_prefs where def <> 'always' or never <> '[]'">>) of
        {selected, _, [[<<"0">>]]} -> [];
        {selected, _, [[Users]]} -> [<<Users/binary, " users have preferences of their own in archive_prefs">>];
        _ -> [<<"archive_prefs cannot be read">>]
    end.

commands() ->
    [#ejabberd_commands{name = tandem_archiving, tags = [tandem], desc = "Whether every message is archived: on, or why not",
        module = ?MODULE, function = archiving, args = [{host, binary}], result = {archiving, string}}].
