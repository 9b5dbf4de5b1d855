%% The policy of the message filter as mod_tandem_filter believes it. One server a host reads the customer's row of the site's
%% own database every second. What was read is believed for some seconds; a row that is missing or malformed is believed at
%% once, and lets nothing through.
%%
%% Licensed as mod_tandem is.
-module(mod_tandem_filter_policy).
-behaviour(gen_server).

-export([believed/1, parse/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-include("logger.hrl").

%% How often the row is read, and how long one reading may take. ms.
-define(EVERY, 1000).
-define(READING, 2000).
%% What was read is believed this long: with a database that hangs nothing is delivered, with a hiccup all is. ms.
-define(BELIEVED, 5000).
%% Far more than a customer's lists take. Bytes.
-define(LONGEST, 262144).

-define(URLS, [<<"allow-all">>, <<"allow-intranet">>, <<"block-intranet-links-with-listed-extensions">>,
               <<"block-messages-with-links">>, <<"links-as-plain-text">>, <<"allow-active-links">>]).
-define(FILES, [<<"allow-all">>, <<"block-listed-extensions">>, <<"block-all">>]).

init([Host | _]) ->
    process_flag(trap_exit, true),
    ets:new(table(Host), [named_table, protected, set, {read_concurrency, true}]),
    self() ! read,
    {ok, #{host => Host, reading => none, told => none}}.

terminate(_, _) -> ok.

handle_call(_, _, State) -> {noreply, State}.

handle_cast(_, State) -> {noreply, State}.

handle_info(read, State) ->
    erlang:send_after(?EVERY, self(), read),
    {noreply, start_reading(State)};
handle_info({read, Pid, At, Found}, #{host := Host, reading := {Pid, Late}} = State) ->
    erlang:cancel_timer(Late),
    Found =:= unread orelse ets:insert(table(Host), {policy, At, Found}),
    {noreply, tell(Found, State#{reading := none})};
handle_info({late, Pid}, #{reading := {Pid, _}} = State) ->
    exit(Pid, kill),
    {noreply, tell(unread, State#{reading := none})};
handle_info({'EXIT', Pid, _}, #{reading := {Pid, Late}} = State) ->
    erlang:cancel_timer(Late),
    {noreply, tell(unread, State#{reading := none})};
handle_info(_, State) ->
    {noreply, State}.

start_reading(#{reading := none, host := Host} = State) ->
    Self = self(),
    Pid = spawn_link(fun() -> Self ! {read, self(), now_ms(), read(Host)} end),
    State#{reading := {Pid, erlang:send_after(?READING, self(), {late, Pid})}};
start_reading(State) ->
    State.

%% A policy | none | malformed | unread
read(Host) ->
    case catch ejabberd_sql:sql_query(Host,
        <<"select document, digest from tandem.filter_in_force()">>) of
        {selected, _, [[Document, Digest]]} -> parse(Document, Digest);
        {selected, _, []} -> none;
        _ -> unread % ejabberd's own log has the database's words.
    end.

%% Says once what has changed.
tell(Found, #{told := Before, host := Host} = State) ->
    Now = case Found of #{digest := Digest} -> Digest; _ -> Found end,
    if
        Now =:= Before -> State;
        is_binary(Now) -> ?INFO_MSG("~ts: the message filter is now ~ts", [Host, Now]), State#{told := Now};
        true -> ?ERROR_MSG("~ts: there is no message filter (~ts): messages are refused", [Host, Now]), State#{told := Now}
    end.

%% A policy, or none: then nothing is let through.
believed(Host) ->
    case catch ets:lookup(table(Host), policy) of
        [{_, At, Policy}] when is_map(Policy) ->
            case now_ms() - At =< ?BELIEVED of
                true -> Policy;
                false -> none
            end;
        _ -> none
    end.

%% Exactly what Tandem writes; all else is malformed.
parse(Document, Digest) when byte_size(Document) =< ?LONGEST ->
    try
        Digest = << <<(hex(Half))>> || <<Half:4>> <= crypto:hash(sha256, Document) >>,
        #{<<"format">> := 1, <<"urls">> := Urls, <<"files">> := Files, <<"extensions">> := Extensions, <<"intranet">> := Intranet} =
            Read = jiffy:decode(Document, [return_maps]),
        5 = map_size(Read),
        true = lists:member(Urls, ?URLS) andalso lists:member(Files, ?FILES),
        #{digest => Digest, urls => Urls, files => Files,
          extensions => set(Extensions, "^[a-z0-9_-]{1,16}$"), intranet => set(Intranet, "^[a-z0-9._-]{1,253}$")}
    catch
        _:_ -> malformed
    end;
parse(_, _) -> malformed.

set(List, Pattern) ->
    maps:from_list([begin {match, _} = re:run(Entry, Pattern, [dollar_endonly]), {Entry, true} end || Entry <- List, is_binary(Entry) orelse throw(no_text)]).

hex(Half) when Half < 10 -> $0 + Half;
hex(Half) -> $a + Half - 10.

table(Host) -> binary_to_atom(<<"mod_tandem_filter@", Host/binary>>, utf8).
now_ms() -> erlang:monotonic_time(millisecond).
