%% Home routing and the right to serve, for one domain on two independent ejabberd nodes.
%%
%% Every user has a home (`tandem.home`), every half has a row that says which site may serve it (`tandem.serving`), and a
%% row that is older than this site's newest epoch (`tandem.epoch`) says nothing. This module reads them from the site's own
%% database and obeys: a stanza for a user whom the peer serves goes to the peer, a sign-in is sent there, and where neither
%% site is known to serve, nobody is served. It fails closed: no home, no row, an older row, a row that could not be read in
%% time are all a no.
%%
%% Licensed under the GNU General Public License, version 2 or later, as the headers are against which it is compiled; see
%% LICENSE beside it.
-module(mod_tandem).
-behaviour(gen_mod).
-behaviour(gen_server).

-export([start/2, stop/1, reload/3, depends/2, mod_options/1, mod_opt_type/1, mod_doc/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).
-export([filter/1, received/3, incoming/2]).
-export([look_again/1, where/2, rights/1]).

-include_lib("p1_xmpp/include/xmpp.hrl").
-include("ejabberd_commands.hrl").
-include("logger.hrl").

%% How often the rows are read, and how long one reading may take. ms.
-define(EVERY, 1000).
-define(READING, 2000).
%% What was read is believed this long: a database that hangs closes the site, a hiccup does not. ms.
-define(BELIEVED, 5000).
%% A user's home is looked up at most this often; whoever changes homes says so by `tandem_look_again`. ms.
-define(HOME_KEPT, 30000).
%% Nobody is sent to a peer that does not answer within this. ms.
-define(ANSWER, 500).
%% Between two attempts at the link to the peer. ms.
-define(LINK_EVERY, 1000).

depends(_, _) -> [].

mod_doc() -> #{desc => <<"Routes to the site that serves a user, and serves nobody without the right to.">>}.

mod_options(_) -> [{site, <<"">>}, {peer, <<"">>}, {peer_node, <<"">>}, {peer_clients, <<"">>}].

mod_opt_type(_) -> econf:binary().

start(Host, Opts) ->
    gen_mod:start_child(?MODULE, Host, Opts).

stop(Host) ->
    gen_mod:stop_child(?MODULE, Host).

reload(Host, _, _) ->
    look_again(Host),
    ok.

%% ---- what is read ---------------------------------------------------------------------------------------------------

init([Host | _]) ->
    process_flag(trap_exit, true),
    Opt = fun(Name) -> gen_mod:get_module_opt(Host, ?MODULE, Name) end,
    Peer = case Opt(peer_node) of <<>> -> none; Node -> binary_to_atom(Node, utf8) end,
    persistent_term:put(
      {?MODULE, Host},
      #{site => Opt(site), peer => Opt(peer), node => Peer, clients => Opt(peer_clients)}),
    ets:new(table(Host), [named_table, public, set, {read_concurrency, true}]),
    ejabberd_hooks:add(filter_packet, ?MODULE, filter, 10),
    ejabberd_hooks:add(c2s_handle_recv, Host, ?MODULE, received, 10),
    ejabberd_commands:register_commands(?MODULE, commands()),
    self() ! read,
    self() ! link,
    {ok, #{host => Host, reading => none, asked => [], linking => none}}.

terminate(_, #{host := Host}) ->
    ejabberd_commands:unregister_commands(commands()),
    ejabberd_hooks:delete(c2s_handle_recv, Host, ?MODULE, received, 10),
    ejabberd_hooks:delete(filter_packet, ?MODULE, filter, 10),
    ok.

handle_call(look_again, From, #{asked := Asked} = State) ->
    %% A reading that has begun may have missed what the caller has just written: he waits for the next.
    {noreply, start_reading(State#{asked := [{From, fresh} | Asked]})}.

handle_cast(_, State) ->
    {noreply, State}.

handle_info(read, State) ->
    erlang:send_after(?EVERY, self(), read),
    obey(State),
    {noreply, start_reading(State)};
handle_info({reading, Pid, At, Rights}, #{host := Host, reading := {Pid, Late}} = State) when is_map(Rights) ->
    erlang:cancel_timer(Late),
    ets:insert(table(Host), {rights, At, Rights}),
    obey(State),
    {noreply, answer(ok, State)};
handle_info({late, Pid}, #{reading := {Pid, _}} = State) ->
    exit(Pid, kill),
    obey(State),
    {noreply, answer(unread, State)};
handle_info({reading, Pid, _, unread}, #{reading := {Pid, Late}} = State) ->
    erlang:cancel_timer(Late),
    obey(State),
    {noreply, answer(unread, State)};
handle_info({'EXIT', Pid, _}, #{reading := {Pid, Late}} = State) ->
    erlang:cancel_timer(Late),
    obey(State),
    {noreply, answer(unread, State)};
handle_info(link, #{host := Host, linking := none} = State) ->
    erlang:send_after(?LINK_EVERY, self(), link),
    case maps:get(node, own(Host)) of
        none -> {noreply, State};
        Node ->
            case lists:member(Node, nodes()) of
                true -> {noreply, State};
                %% To connect to a site that swallows packets takes seconds: never in a user's session.
                false -> {noreply, State#{linking := spawn_link(fun() -> net_kernel:connect_node(Node) end)}}
            end
    end;
handle_info(link, State) ->
    erlang:send_after(?LINK_EVERY, self(), link),
    {noreply, State};
handle_info({'EXIT', Pid, _}, #{linking := Pid} = State) ->
    {noreply, State#{linking := none}};
handle_info(_, State) ->
    {noreply, State}.

start_reading(#{reading := none, asked := Asked, host := Host} = State) ->
    Self = self(),
    Pid = spawn_link(fun() ->
        At = now_ms(),
        Self ! {reading, self(), At, read_rights(Host)}
    end),
    Late = erlang:send_after(?READING, self(), {late, Pid}),
    State#{reading := {Pid, Late}, asked := [{From, begun} || {From, _} <- Asked]};
start_reading(State) ->
    State.

%% Tells those whose reading has begun after they asked; reads again for the others.
answer(Outcome, #{asked := Asked, host := Host} = State) ->
    {Told, Waiting} = lists:partition(fun({_, When}) -> When =:= begun end, Asked),
    [gen_server:reply(From, Outcome) || {From, _} <- Told],
    Idle = State#{reading := none, asked := Waiting},
    case Waiting of
        [] -> Idle;
        _ -> ets:match_delete(table(Host), {{home, '_'}, '_', '_'}), start_reading(Idle)
    end.

%% Half -> the site that may serve it. A row behind the newest epoch is left out: it says nothing.
read_rights(Host) ->
    case catch ejabberd_sql:sql_query(Host,
        <<"select s.half, s.site from tandem.serving s join tandem.identity i on i.customer = s.customer "
          "join tandem.epoch e on e.customer = s.customer where s.epoch = e.number">>) of
        {selected, _, Rows} -> maps:from_list([{Half, Site} || [Half, Site] <- Rows]);
        _ -> unread % ejabberd's own log has the database's words.
    end.

%% Closes the sessions of all whom this site may not serve, when that has changed.
obey(#{host := Host}) ->
    Now = believed(Host),
    case ets:lookup(table(Host), obeyed) of
        [{_, Now}] -> ok;
        _ ->
            ets:match_delete(table(Host), {{home, '_'}, '_', '_'}),
            ets:insert(table(Host), {obeyed, Now}),
            ?INFO_MSG("~ts: the right to serve is now ~p", [Host, Now]),
            spawn(fun() -> close_others(Host) end)
    end.

close_others(Host) ->
    Users = lists:usort([U || {U, _, _} <- ejabberd_sm:get_vh_session_list(Host)]),
    [ejabberd_sm:kick_user(U, Host) || U <- Users, served(Host, U) =/= here].

%% ---- what is decided ------------------------------------------------------------------------------------------------

%% here | {peer, Node | none} | closed
served(Host, User) ->
    #{site := Own, peer := Peer, node := Node} = own(Host),
    case believed(Host) of
        unread -> closed;
        Rights ->
            case maps:find(home(Host, User), Rights) of
                {ok, Own} -> here;
                {ok, Peer} -> {peer, Node};
                _ -> closed
            end
    end.

believed(Host) ->
    case catch ets:lookup(table(Host), rights) of
        [{_, At, Rights}] ->
            case now_ms() - At =< ?BELIEVED of
                true -> Rights;
                false -> unread
            end;
        _ -> unread
    end.

%% Where a user belongs; `none` also for one in quarantine, whose block list cannot be read: he is not let in.
home(Host, User) ->
    Now = now_ms(),
    case ets:lookup(table(Host), {home, User}) of
        [{_, Half, At}] when Now - At =< ?HOME_KEPT -> Half;
        _ ->
            Name = ejabberd_sql:escape(User),
            Read = catch ejabberd_sql:sql_query(Host,
                [<<"select h.site from tandem.home h where h.username = ">>, quoted(Name),
                 <<" and not exists (select from tandem.quarantine q where q.username = h.username and q.release is null)">>]),
            case Read of
                {selected, _, [[Half]]} -> keep(Host, User, Half, Now);
                {selected, _, []} -> keep(Host, User, none, Now);
                _ -> none
            end
    end.

keep(Host, User, Half, Now) ->
    ets:insert(table(Host), {{home, User}, Half, Now}),
    Half.

quoted(Escaped) -> [<<"E'">>, Escaped, <<"'">>].

%% ---- what is done with stanzas and sign-ins -------------------------------------------------------------------------

filter(drop) -> drop;
filter(Packet) ->
    case xmpp:get_to(Packet) of
        #jid{lserver = Host, luser = User} when User =/= <<>> ->
            case persistent_term:get({?MODULE, Host}, none) of
                none -> Packet;
                _ -> deliver(Packet, Host, User)
            end;
        _ -> Packet
    end.

deliver(Packet, Host, User) ->
    case served(Host, User) of
        here -> Packet;
        {peer, Node} when Node =/= none ->
            %% What came from the peer is never sent back: both would send it to each other for ever.
            case xmpp:get_meta(Packet, tandem_peer, false) orelse not lists:member(Node, nodes()) of
                true -> refuse(Packet);
                false -> rpc:cast(Node, ?MODULE, incoming, [Host, Packet]), drop
            end;
        _ -> refuse(Packet)
    end.

refuse(#presence{}) -> drop;
refuse(Packet) ->
    case xmpp:get_type(Packet) of
        Type when Type =:= error; Type =:= result -> drop;
        _ ->
            Why = xmpp:err_service_unavailable(<<"no site may serve this user now">>, <<"en">>),
            bounce(Packet, xmpp:make_error(Packet, Why)),
            drop
    end.

%% What came from the peer is answered there, whoever this site thinks serves its sender.
bounce(Packet, Error) ->
    #jid{lserver = Host} = xmpp:get_to(Packet),
    case xmpp:get_meta(Packet, tandem_peer, false) of
        true -> rpc:cast(maps:get(node, own(Host)), ?MODULE, incoming, [Host, xmpp:del_meta(Error, tandem_peer)]);
        false -> ejabberd_router:route(Error)
    end.

incoming(_Host, Packet) ->
    ejabberd_router:route(xmpp:put_meta(Packet, tandem_peer, true)).

%% After SASL, when a resource is bound: until then nothing is known of who signs in.
received(#{user := User, lserver := Host} = State, _, #iq{type = set} = Packet) when User =/= <<>> ->
    case xmpp:has_subtag(Packet, #bind{}) of
        false -> State;
        true ->
            case served(Host, jid:nodeprep(User)) of
                here -> State;
                {peer, Node} ->
                    #{clients := Clients} = own(Host),
                    case Clients =/= <<>> andalso answers(Node) of
                        true -> leave(State, #'see-other-host'{host = Clients});
                        %% A peer out of reach may be a dead one: to be tried again here is better than to be sent there.
                        false -> leave(State, 'remote-connection-failed')
                    end;
                closed -> leave(State, 'system-shutdown')
            end
    end;
received(State, _, _) ->
    State.

%% A frozen peer is among the nodes for some seconds yet, and takes connections.
answers(Node) -> lists:member(Node, nodes()) andalso rpc:call(Node, erlang, node, [], ?ANSWER) =:= Node.

leave(State, Reason) ->
    xmpp_stream_in:send(State, #stream_error{reason = Reason}).

%% ---- what operators and Tandem ask ----------------------------------------------------------------------------------

%% Reads the rows now; answers when that is done. 0: read; 1: it could not be, and the site is closed within seconds.
look_again(Host) ->
    case catch gen_server:call(gen_mod:get_module_proc(Host, ?MODULE), look_again, 2 * ?READING + 1000) of
        ok -> 0;
        _ -> 1
    end.

where(User, Host) ->
    case served(Host, jid:nodeprep(User)) of
        here -> <<"here">>;
        {peer, _} -> <<"peer">>;
        closed -> <<"closed">>
    end.

rights(Host) ->
    case believed(Host) of
        unread -> [];
        Rights -> [<<Half/binary, $=, Site/binary>> || {Half, Site} <- maps:to_list(Rights)]
    end.

commands() ->
    [#ejabberd_commands{name = tandem_look_again, tags = [tandem], desc = "Read the right to serve now",
        module = ?MODULE, function = look_again, args = [{host, binary}], result = {res, rescode}},
     #ejabberd_commands{name = tandem_where, tags = [tandem], desc = "Where a user is served: here, peer or closed",
        module = ?MODULE, function = where, args = [{user, binary}, {host, binary}], result = {site, string}},
     #ejabberd_commands{name = tandem_rights, tags = [tandem], desc = "The halves and the sites that may serve them",
        module = ?MODULE, function = rights, args = [{host, binary}], result = {rights, {list, {right, string}}}}].

own(Host) -> persistent_term:get({?MODULE, Host}).
table(Host) -> binary_to_atom(<<"mod_tandem@", Host/binary>>, utf8).
now_ms() -> erlang:monotonic_time(millisecond).
