%% What mod_tandem believes: who may serve which half, where a user belongs, and whether the customer's directory lets him in. One
%% server a host reads the rows of the site's own database, closes the sessions of all whom this site may not serve, and keeps the
%% link to the peer.
%%
%% Licensed as mod_tandem is.
-module(mod_tandem_rights).
-behaviour(gen_server).

-export([own/1, believed/1, home/2, look_again/1, ran_through/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-include_lib("p1_xmpp/include/xmpp.hrl").
-include("logger.hrl").

%% How often the rows are read, and how long one reading may take. ms.
-define(EVERY, 1000).
-define(READING, 2000).
%% What was read is believed this long: a database that hangs closes the site, a hiccup does not. ms.
-define(BELIEVED, 5000).
%% A user's home is looked up at most this often; whoever changes homes says so by `tandem_look_again`. ms.
-define(HOME_KEPT, 30000).
%% A look-up that began before the directory was read has ended after this time. ms.
-define(LOOKED_UP, 6000).
%% A service that starts serves nobody until its site's worker has said, not longer ago than this, that the site lives. A time
%% to come is no sign of life: the clock of the database has been changed. s.
-define(ALIVE, 300).
-define(AHEAD, 10).
%% Between two attempts at the link to the peer. ms.
-define(LINK_EVERY, 1000).

init([Host | _]) ->
    process_flag(trap_exit, true),
    Opt = fun(Name) -> gen_mod:get_module_opt(Host, mod_tandem, Name) end,
    Peer = case Opt(peer_node) of <<>> -> none; Node -> binary_to_atom(Node, utf8) end,
    persistent_term:put(
      {?MODULE, Host},
      #{site => Opt(site), peer => Opt(peer), node => Peer, clients => Opt(peer_clients)}),
    ets:new(table(Host), [named_table, public, set, {read_concurrency, true}]),
    self() ! read,
    self() ! link,
    {ok, #{host => Host, reading => none, asked => [], linking => none, directory => none}}.

terminate(_, _) -> ok.

handle_call(look_again, From, #{asked := Asked, host := Host} = State) ->
    forget_homes(Host),
    %% A reading that has begun may have missed what the caller has just written: he waits for the next.
    {noreply, start_reading(State#{asked := [{From, fresh} | Asked]})}.

handle_cast(_, State) ->
    {noreply, State}.

handle_info(read, State) ->
    erlang:send_after(?EVERY, self(), read),
    obey(State),
    {noreply, start_reading(State)};
handle_info({reading, Pid, At, {Rights, Version, Lives}}, #{host := Host, reading := {Pid, Late}} = State) ->
    erlang:cancel_timer(Late),
    ets:insert(table(Host), {rights, At, lives(Host, Lives, At, Rights)}),
    obey(State),
    {noreply, answer(ok, follow(Version, State))};
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

%% What a site that was away believes may have been taken from it: its worker decides, and says by its next sign of life that it
%% has. Once there was one, a worker that is away closes nobody. That is known for as long as the Erlang node lives and reads: one
%% that stood still, or had no database, for as long as a site may be down has been away as well.
lives(Host, Lives, At, Rights) ->
    Ran = case persistent_term:get({?MODULE, lived, Host}, none) of
        none -> false;
        Last -> At - atomics:get(Last, 1) =< ?ALIVE * 1000
    end,
    case Ran orelse Lives of
        true -> lived(Host, At), Rights;
        false -> #{}
    end.

lived(Host, At) ->
    case persistent_term:get({?MODULE, lived, Host}, none) of
        none ->
            Last = atomics:new(1, [{signed, true}]),
            atomics:put(Last, 1, At),
            persistent_term:put({?MODULE, lived, Host}, Last);
        Last -> atomics:put(Last, 1, At)
    end.

%% Whether it has served without a break of that length since its site's worker last said that the site lives.
ran_through(Host) ->
    case persistent_term:get({?MODULE, lived, Host}, none) of
        none -> error;
        Last ->
            case now_ms() - atomics:get(Last, 1) =< ?BELIEVED of
                true -> ok;
                false -> error
            end
    end.

%% Tells those whose reading has begun after they asked; reads again for the others.
answer(Outcome, #{asked := Asked} = State) ->
    {Told, Waiting} = lists:partition(fun({_, When}) -> When =:= begun end, Asked),
    [gen_server:reply(From, Outcome) || {From, _} <- Told],
    Idle = State#{reading := none, asked := Waiting},
    case Waiting of
        [] -> Idle;
        _ -> start_reading(Idle)
    end.

%% Half -> the site that may serve it, the newest change by the directory, and whether the worker lives. A row behind the newest
%% epoch is left out: it says nothing. So is a half that is about to be handed over, and so do all rows while the site is closed, or nobody there has seen its peer or the witness for too long, and all that the database of another site says: a
%% server under a wrong name would serve the wrong half.
read_rights(Host) ->
    #{site := Own} = own(Host),
    Rights = catch ejabberd_sql:sql_query(Host,
        [<<"select s.half, s.site from tandem.serving s join tandem.identity i on i.customer = s.customer "
           "join tandem.epoch e on e.customer = s.customer where s.epoch = e.number and not exists ("
           "select from tandem.closed c where c.customer = i.customer) and not exists ("
           % As tandem.cut_off has it, also over a database that no worker of this version has prepared.
           "select from tandem.alive a where a.customer = i.customer and abs(extract(epoch from clock_timestamp() - "
           "(to_jsonb(a) ->> 'saw_at')::timestamptz)) > (to_jsonb(a) ->> 'self_fence_s')::float8) and not exists ("
           "select from tandem.drained d where d.customer = s.customer and d.half = s.half and d.epoch = e.number) and i.site = ">>,
         quoted(ejabberd_sql:escape(Own))]),
    Lives = catch ejabberd_sql:sql_query(Host,
        [<<"select count(*)::text from tandem.alive a join tandem.identity i on i.customer = a.customer "
           "where extract(epoch from clock_timestamp() - a.at) between -">>, integer_to_binary(?AHEAD), <<" and ">>,
         integer_to_binary(?ALIVE)]),
    Version = catch ejabberd_sql:sql_query(Host,
        <<"select coalesce(max(version), 0)::text from tandem.directory_answer">>),
    case {Rights, Version, Lives} of
        {{selected, _, Rows}, {selected, _, [[Newest]]}, {selected, _, [[Signs]]}} ->
            {maps:from_list([{Half, Site} || [Half, Site] <- Rows]), binary_to_integer(Newest), Signs =/= <<"0">>};
        _ -> unread % ejabberd's own log has the database's words.
    end.

%% The directory has enabled or disabled somebody.
follow(Version, #{directory := Version} = State) ->
    State;
follow(Version, #{host := Host, directory := Known} = State) ->
    forget_homes(Host),
    spawn(fun() ->
        close_disabled(Host, Known, Version),
        %% Whoever was let in by a look-up that had begun before.
        timer:sleep(?LOOKED_UP),
        close_disabled(Host, Known, Version)
    end),
    State#{directory := Version}.

%% A database that was put back to an older state knows less than this server did: everybody is looked at.
close_disabled(Host, Known, Version) when Known =:= none; Version < Known ->
    close_others(Host);
close_disabled(Host, Known, _) ->
    case catch ejabberd_sql:sql_query(Host,
        [<<"select username from tandem.entitlement where not enabled and version > ">>, integer_to_binary(Known)]) of
        {selected, _, Rows} -> [ejabberd_sm:kick_user(U, Host) || [U] <- Rows, mod_tandem:where(U, Host) =/= <<"here">>];
        _ -> close_others(Host)
    end.

%% Closes the sessions of all whom this site may not serve, when that has changed.
obey(#{host := Host}) ->
    Now = believed(Host),
    case ets:lookup(table(Host), obeyed) of
        [{_, Now}] -> ok;
        _ ->
            forget_homes(Host),
            ets:insert(table(Host), {obeyed, Now}),
            ?INFO_MSG("~ts: the right to serve is now ~p", [Host, Now]),
            spawn(fun() -> close_others(Host) end)
    end.

close_others(Host) ->
    Users = lists:usort([U || {U, _, _} <- ejabberd_sm:get_vh_session_list(Host)]),
    [leave(U, Host) || U <- Users, mod_tandem:where(U, Host) =/= <<"here">>].

%% With the error after which clients come back: after that of a kick, a policy that was violated, some do not. One whose connection
%% is gone already, and who may resume, is kicked.
leave(User, Host) ->
    [ejabberd_c2s:send(Pid, #stream_error{reason = 'system-shutdown'}) || {_, Pid} <- ejabberd_sm:get_session_sids(User, Host)],
    ejabberd_sm:kick_user(User, Host).

believed(Host) ->
    case catch ets:lookup(table(Host), rights) of
        [{_, At, Rights}] ->
            case now_ms() - At =< ?BELIEVED of
                true -> Rights;
                false -> unread
            end;
        _ -> unread
    end.

%% Where a user belongs; `none` also for one in quarantine, whose block list cannot be read, and for one whom the customer's
%% directory disables: he is not let in.
home(Host, User) ->
    Now = now_ms(),
    case ets:lookup(table(Host), {home, User}) of
        [{_, Half, At}] when Now - At =< ?HOME_KEPT -> Half;
        _ ->
            Name = ejabberd_sql:escape(User),
            Forgotten = forgotten(Host),
            Read = catch ejabberd_sql:sql_query(Host,
                [<<"select h.site from tandem.home h where h.username = ">>, quoted(Name),
                 <<" and not exists (select from tandem.quarantine q where q.username = h.username and q.release is null)"
                   " and tandem.entitled(h.username)">>]),
            case Read of
                {selected, _, [[Half]]} -> keep(Host, User, Half, Now, Forgotten);
                {selected, _, []} -> keep(Host, User, none, Now, Forgotten);
                _ -> none
            end
    end.

%% What was looked up before all was forgotten is not kept: it may be what was to be forgotten.
keep(Host, User, Half, Now, Forgotten) ->
    case forgotten(Host) of
        Forgotten -> ets:insert(table(Host), {{home, User}, Half, Now});
        _ -> ok
    end,
    Half.

forget_homes(Host) ->
    ets:update_counter(table(Host), forgotten, 1, {forgotten, 0}),
    ets:match_delete(table(Host), {{home, '_'}, '_', '_'}).

forgotten(Host) -> ets:lookup(table(Host), forgotten).

quoted(Escaped) -> [<<"E'">>, Escaped, <<"'">>].

%% Reads the rows now; answers when that is done. error: they could not be, and the site is closed within seconds.
look_again(Host) ->
    case catch gen_server:call(gen_mod:get_module_proc(Host, mod_tandem), look_again, 2 * ?READING + 1000) of
        ok -> ok;
        _ -> error
    end.

own(Host) -> persistent_term:get({?MODULE, Host}, none).
table(Host) -> binary_to_atom(<<"mod_tandem@", Host/binary>>, utf8).
now_ms() -> erlang:monotonic_time(millisecond).
