%% The way of stanzas between the two sites. What one user sends to another comes in the order in which it was sent, and a peer
%% that takes no more holds up nobody here. Each site remembers who of the other one is shown as available to its users: when the
%% link is lost they are shown as gone, and when it is back all tell each other anew.
%%
%% Licensed as mod_tandem is.
-module(mod_tandem_link).
-behaviour(gen_server).

-export([start/1, stop/1, send/3]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-include_lib("p1_xmpp/include/xmpp.hrl").

%% Servers that take in what the peer sends; a sender always has the same one.
-define(RECEIVERS, 8).
%% Users whose contacts are looked up at once.
-define(AT_ONCE, 100).
%% Sessions that tell their presence again, and then a pause, ms: all at once would be a storm.
-define(PACE, {50, 100}).

start(Host) ->
    %% Whoever starts a module need not live as long as it.
    ets:new(shown(Host), [named_table, public, set, {heir, whereis(ejabberd_sup), none}]),
    [{ok, _} = gen_mod:start_child(?MODULE, Host, [N], name(Host, N)) || N <- numbers()],
    ok.

stop(Host) ->
    [gen_mod:stop_child(name(Host, N)) || N <- numbers()],
    catch ets:delete(shown(Host)),
    ok.

%% Whether it is on its way. A full or broken link is a no at once: the sender's own session must not wait for it.
send(Host, Node, Packet) ->
    {User, _, _} = jid:tolower(xmpp:get_from(Packet)),
    To = {name(Host, erlang:phash2(User, ?RECEIVERS)), Node},
    erlang:send(To, {packet, Packet}, [noconnect, nosuspend]) =:= ok.

%% ---- at the site that receives --------------------------------------------------------------------------------------

init([Host, [N]]) ->
    %% One of them looks after the link itself.
    N =:= 0 andalso net_kernel:monitor_nodes(true),
    {ok, Host}.

terminate(_, _) -> ok.
handle_call(_, _, Host) -> {reply, ok, Host}.
handle_cast(_, Host) -> {noreply, Host}.

handle_info({packet, Packet}, Host) ->
    remember(Host, Packet),
    catch ejabberd_router:route(xmpp:put_meta(Packet, tandem_peer, true)),
    {noreply, Host};
handle_info({nodedown, Node}, Host) ->
    is_peer(Host, Node) andalso spawn(fun() -> show_as_gone(Host) end),
    {noreply, Host};
handle_info({nodeup, Node}, Host) ->
    is_peer(Host, Node) andalso spawn(fun() -> tell_anew(Host) end),
    {noreply, Host};
handle_info(_, Host) ->
    {noreply, Host}.

remember(Host, #presence{type = available, from = #jid{lserver = Host} = From}) ->
    ets:insert(shown(Host), {jid:tolower(From), From});
remember(Host, #presence{type = unavailable, from = #jid{lserver = Host} = From}) ->
    ets:delete(shown(Host), jid:tolower(From));
remember(_, _) -> ok.

%% ---- when the link is lost, and when it is back ---------------------------------------------------------------------

show_as_gone(Host) ->
    Gone = [From || {_, From} <- ets:tab2list(shown(Host))],
    [ets:delete(shown(Host), jid:tolower(From)) || From <- Gone],
    Here = maps:from_keys(users(Host), true),
    in_pieces(Gone, fun(Some) -> tell_contacts(Host, Some, Here) end).

%% Whoever is signed in here and sees the presence of these users, by his own contacts.
tell_contacts(Host, Gone, Here) ->
    ByAddress = lists:foldl(
        fun(From, All) ->
            Bare = jid:encode(jid:remove_resource(jid:tolower(From))),
            maps:update_with(Bare, fun(More) -> [From | More] end, [From], All)
        end, #{}, Gone),
    Names = lists:join($,, [[<<"E'">>, ejabberd_sql:escape(Bare), <<"'">>] || Bare <- maps:keys(ByAddress)]),
    Read = catch ejabberd_sql:sql_query(Host,
        [<<"select username, jid from rosterusers where subscription in ('B', 'T') and jid in (">>, Names, <<")">>]),
    case Read of
        {selected, _, Rows} ->
            [ejabberd_router:route(#presence{type = unavailable, from = From, to = jid:make(User, Host)})
             || [User, Bare] <- Rows, maps:is_key(User, Here), From <- maps:get(Bare, ByAddress, [])];
        _ -> ok % ejabberd's own log has the database's words.
    end.

tell_anew(Host) ->
    {Many, Pause} = ?PACE,
    Sessions = [Pid || U <- users(Host), {_, Pid} <- ejabberd_sm:get_session_sids(U, Host)],
    in_pieces(Sessions, Many, fun(Some) ->
        [ejabberd_c2s:resend_presence(Pid) || Pid <- Some],
        timer:sleep(Pause)
    end).

users(Host) -> lists:usort([U || {U, _, _} <- ejabberd_sm:get_vh_session_list(Host)]).

in_pieces(List, Work) -> in_pieces(List, ?AT_ONCE, Work).

in_pieces([], _, _) -> ok;
in_pieces(List, Many, Work) ->
    {Some, Rest} = lists:split(min(Many, length(List)), List),
    Work(Some),
    in_pieces(Rest, Many, Work).

is_peer(Host, Node) -> maps:get(node, mod_tandem_rights:own(Host), none) =:= Node.

numbers() -> lists:seq(0, ?RECEIVERS - 1).
name(Host, N) -> binary_to_atom(<<"mod_tandem_link_", (integer_to_binary(N))/binary, $@, Host/binary>>, utf8).
shown(Host) -> binary_to_atom(<<"mod_tandem_shown@", Host/binary>>, utf8).
