%% Links in texts, and the extensions of links and file names. Pure functions; FILTER.md says the rules in words.
%%
%% Each function is linear in the size of its text.
%%
%% Licensed as mod_tandem is.
-module(mod_tandem_filter_links).

-export([found/2, inside/2, listed/2, listed_name/2, plain/1]).

%% Extensions that are top-level domains as well: behind a question mark they are those of hosts.
-define(DOMAINS, [<<"app">>, <<"com">>, <<"md">>, <<"mov">>, <<"pl">>, <<"py">>, <<"rs">>, <<"sh">>, <<"zip">>]).

%% Addresses of people: what stands behind them names no file.
-define(ADDRESSES, [<<"mailto">>, <<"xmpp">>, <<"sip">>, <<"sips">>, <<"tel">>, <<"callto">>, <<"sms">>, <<"im">>, <<"pres">>,
                    <<"skype">>, <<"geo">>, <<"news">>, <<"cid">>, <<"mid">>]).

%% Programs and files within the link itself.
-define(SEALED, [<<"javascript">>, <<"vbscript">>, <<"data">>, <<"blob">>]).

%% ---- where links are ------------------------------------------------------------------------------------------------

%% The links of a text; of a place where a link stands, that one at least. A link: {its text, normalised; where it stands in
%% another one: none | path | query}.
found(link, Text) ->
    %% Browsers pass over the ends of lines, and take a space for a part of it.
    Normal = mod_tandem_filter_text:normal(<< <<C>> || <<C>> <= Text, C =/= $\t, C =/= $\n, C =/= $\r >>),
    case string:trim(Normal, both, " ") of
        <<>> -> [];
        Trimmed ->
            Link = binary:replace(Trimmed, [<<" ">>, <<"<">>, <<">">>, <<"\"">>], <<"%20">>, [global]),
            case {spans(Link), re:run(Link, "^[a-z][a-z0-9+.-]*:")} of
                {[{0, _, _} | _] = Spans, _} -> [cut(Link, Span) || Span <- Spans];
                {_, {match, _}} -> [{Link, none}];
                %% A name beside the page it stands in.
                _ -> [{<<"relative:", Link/binary>>, none}]
            end
    end;
found(text, Text) ->
    Normal = mod_tandem_filter_text:normal(Text),
    %% None is without them, and to look for them is a hundred times faster than to look for links.
    case binary:match(Normal, [<<":">>, <<"/">>, <<"\\\\">>, <<"www">>, <<"ftp.">>]) of
        nomatch -> [];
        _ -> [cut(Normal, Span) || Span <- spans(Normal)]
    end.

cut(Text, {Start, Length, Embedded}) -> {binary:part(Text, Start, Length), Embedded}.

%% [{Start, Length, Embedded}] in a text of small letters.
spans(Text) ->
    case re:run(Text, pattern(), [global, {capture, first, index}, report_errors]) of
        nomatch -> [];
        {match, Matches} -> ends(Text, [Start || [{Start, _}] <- Matches], {0, none})
    end.

%% Each link ends at a space, a quotation mark or an angle bracket; or where the next one begins, which then stands in it.
ends(_, [], _) -> [];
ends(Text, [Start | Rest], {Before, Inside}) ->
    Limit = case Rest of [Next | _] -> Next; [] -> byte_size(Text) end,
    Length = case binary:match(Text, [<<" ">>, <<"<">>, <<">">>, <<"\"">>], [{scope, {Start, Limit - Start}}]) of
        {At, _} -> At - Start;
        nomatch -> Limit - Start
    end,
    Embedded = case Start =:= Before of true -> Inside; false -> none end,
    Below = case {Embedded, binary:match(Text, [<<"?">>, <<"#">>], [{scope, {Start, Length}}])} of
        {query, _} -> query;
        {_, nomatch} -> path;
        _ -> query
    end,
    [{Start, Length, Embedded} | ends(Text, Rest, {Start + Length, Below})].

%% What clients make links of: any scheme with two slashes, schemes that need none, names that begin with www or ftp, a host
%% with a path, a share of files.
pattern() ->
    case persistent_term:get(?MODULE, none) of
        none ->
            Text = "[a-z][a-z0-9+.-]{0,31}://"
                "|(?<![a-z0-9_+.-])(?:https?|ftps?|file|wss?|mailto|xmpp|sips?|tel|callto|sms|im|pres|skype|news|nntp|ldaps?"
                "|gopher|telnet|magnet|javascript|vbscript|search-ms|ms-[a-z0-9-]{1,32}):(?=[^ ])"
                "|(?<![a-z0-9_+.-])data:(?=[a-z]{1,32}/|[,;])"
                "|(?<![^ ('<>\\[{,;|\"\\x80-\\xff])(?:www[0-9]{0,3}|ftp)\\.(?=[^ .])"
                "|(?<![^ ('<>\\[{,;|\"])(?:[a-z0-9\\x80-\\xff_-]{1,63}\\.){1,30}[a-z\\x80-\\xff][a-z0-9\\x80-\\xff-]{0,62}\\.?(?::[0-9]{1,5})?/(?=[^ ])"
                "|\\\\\\\\(?=[a-z0-9\\x80-\\xff])",
            {ok, Compiled} = re:compile(Text),
            persistent_term:put(?MODULE, Compiled),
            Compiled;
        Compiled -> Compiled
    end.

%% ---- what a link is -------------------------------------------------------------------------------------------------

%% {Scheme, Authority | none, path and the rest}
parts({<<"\\\\", Rest/binary>>, _}) -> authority(<<"file">>, binary:replace(Rest, <<"\\">>, <<"/">>, [global]));
parts({Link, _}) ->
    case re:run(Link, "^([a-z][a-z0-9+.-]*):(.*)$", [{capture, all_but_first, binary}, dotall]) of
        nomatch -> authority(<<"http">>, Link);
        {match, [Scheme, Rest]} ->
            Hosted = lists:member(Scheme, [<<"http">>, <<"https">>, <<"ftp">>, <<"ftps">>, <<"ws">>, <<"wss">>]),
            case Rest of
                <<"//", Behind/binary>> -> authority(Scheme, slashes(Hosted, Behind));
                %% Browsers do without the slashes, or with others.
                _ when Hosted -> authority(Scheme, slashes(true, Rest));
                _ -> {Scheme, none, Rest}
            end
    end.

slashes(true, <<C, Rest/binary>>) when C =:= $/; C =:= $\\ -> slashes(true, Rest);
slashes(_, Rest) -> Rest.

authority(Scheme, Rest) ->
    case binary:match(Rest, [<<"/">>, <<"\\">>, <<"?">>, <<"#">>]) of
        {At, _} -> {Scheme, binary:part(Rest, 0, At), binary:part(Rest, At, byte_size(Rest) - At)};
        nomatch -> {Scheme, Rest, <<>>}
    end.

%% Whether it leads to a host of the customer's own: a name without a dot, or one of those configured or below it. What is
%% written so that two programs may read two hosts in it does not.
inside(Link, Intranet) ->
    case parts(Link) of
        {Scheme, none, Rest} ->
            lists:member(Scheme, ?ADDRESSES) andalso is_inside(behind_at(Rest), Intranet);
        {_, Authority, Rest} ->
            case Rest of
                <<"\\", _/binary>> -> false;
                _ -> is_inside(Authority, Intranet)
            end
    end.

behind_at(Rest) ->
    [Address | _] = binary:split(Rest, [<<"?">>, <<"/">>, <<";">>]),
    case binary:split(Address, <<"@">>) of
        [_, Host] -> Host;
        _ -> <<>>
    end.

is_inside(Authority, _) when byte_size(Authority) > 300 -> false;
is_inside(Authority, Intranet) ->
    Pattern = "^([a-z0-9_-]{1,63}(?:\\.[a-z0-9_-]{1,63}){0,126})\\.?(?::[0-9]{0,5})?$",
    case re:run(ascii(Authority), Pattern, [{capture, [1], binary}]) of
        {match, [Host]} ->
            Labels = binary:split(Host, <<".">>, [global]),
            case {is_number_of(lists:last(Labels)), Labels} of
                %% Hosts by number: one that is named as it is, and no other.
                {true, _} -> maps:is_key(Host, Intranet);
                {false, [_]} -> true;
                {false, _} -> is_below(Labels, Intranet)
            end;
        nomatch -> false
    end.

is_below([], _) -> false;
is_below([_ | Above] = Labels, Intranet) ->
    maps:is_key(iolist_to_binary(lists:join($., Labels)), Intranet) orelse is_below(Above, Intranet).

is_number_of(Label) -> re:run(Label, "^(?:[0-9]+|0x[0-9a-f]*)$") =/= nomatch.

ascii(Authority) ->
    case [C || <<C>> <= Authority, C > 127] of
        [] -> Authority;
        _ ->
            [Host | Port] = binary:split(Authority, <<":">>),
            try list_to_binary([idna:encode(unicode:characters_to_list(Host), [{uts46, true}]) | [[$:, P] || P <- Port]])
            catch _:_ -> <<>>
            end
    end.

%% ---- extensions -----------------------------------------------------------------------------------------------------

%% Whether a link leads to a file with a listed extension, as far as it says so; also when it holds a program or a file, or was
%% encoded to hide what it is.
listed({_, Embedded} = Link, Listed) ->
    {Scheme, Authority, Rest} = parts(Link),
    lists:member(Scheme, ?SEALED) orelse
        case {Authority, lists:member(Scheme, ?ADDRESSES)} of
            {none, true} -> false;
            {none, false} -> target(Rest, Listed);
            %% In the path of another link it is a part of that path.
            _ when Embedded =:= path -> target(Authority, Listed) orelse target(Rest, Listed);
            _ -> target(Rest, Listed)
        end.

target(Rest, Listed) ->
    {Path, Behind} = case binary:match(Rest, [<<"?">>, <<"#">>]) of
        {At, _} -> split_binary(Rest, At);
        nomatch -> {Rest, <<>>}
    end,
    listed_name(Path, Listed) orelse listed_in(hosts_out(mod_tandem_filter_text:decoded(Behind)), maps:without(?DOMAINS, Listed)).

%% The domains of mail addresses.
hosts_out(hidden) -> hidden;
hosts_out(Text) -> re:replace(Text, "@[a-z0-9.-]+", "@", [global, {return, binary}]).

%% Whether a name, or any piece of a path, ends in a listed extension.
listed_name(Name, Listed) -> listed_in(mod_tandem_filter_text:decoded(mod_tandem_filter_text:normal(Name)), Listed).

listed_in(hidden, _) -> true;
listed_in(Text, Listed) ->
    Pieces = binary:split(Text, [<<C>> || C <- "/\\?#&=;:,|\"<>*\0"], [global]),
    lists:any(fun(Piece) -> maps:is_key(extension(Piece), Listed) end, Pieces).

%% What stands behind the last dot that has a letter or a digit behind it, up to the first character that is neither.
extension(Piece) ->
    Parts = [Part || Part <- tl(binary:split(Piece, <<".">>, [global])), leading(Part, 0) > 0],
    case Parts of
        [] -> <<>>;
        _ -> Last = lists:last(Parts), binary:part(Last, 0, leading(Last, 0))
    end.

leading(Part, At) ->
    case Part of
        <<_:At/binary, C, _/binary>> when C >= $a, C =< $z; C >= $0, C =< $9; C =:= $_; C =:= $- -> leading(Part, At + 1);
        _ -> At
    end.

%% ---- links as plain text --------------------------------------------------------------------------------------------

%% The text with all of its links written so that no client makes a link of them: `http[:]//www[.]example[.]com/a.html`.
plain(Text) ->
    Broken = broken(Text, spans(mod_tandem_filter_text:small(Text))),
    case found(text, Broken) of
        [] -> Broken;
        %% Hidden among characters that are not seen: then without those.
        _ -> Normal = mod_tandem_filter_text:normal(Text), broken(Normal, spans(Normal))
    end.

broken(Text, Spans) -> iolist_to_binary(broken(Text, 0, Spans)).

broken(Text, At, []) -> binary:part(Text, At, byte_size(Text) - At);
broken(Text, At, [{Start, Length, _} = Span | Rest]) ->
    {Link, _} = cut(Text, Span),
    [binary:part(Text, At, Start - At), broken_link(Link) | broken(Text, Start + Length, Rest)].

broken_link(<<"\\\\", Rest/binary>>) -> [<<"[\\\\]">>, Rest];
broken_link(Link) ->
    {Scheme, Rest} = case re:run(Link, "^[a-zA-Z][a-zA-Z0-9+.-]*:/*", [{capture, first, index}]) of
        {match, [{0, Length}]} -> split_binary(Link, Length);
        nomatch -> {<<>>, Link}
    end,
    {_, Authority, Path} = authority(none, Rest),
    [binary:replace(dots(Scheme), <<":">>, <<"[:]">>), dots(Authority), Path].

dots(Text) -> binary:replace(Text, <<".">>, <<"[.]">>, [global]).
