%% What the message filter lets through: pure functions of a stanza and a policy. FILTER.md says the rules in words.
%%
%% Everything that a message carries is looked at: all its texts, all attributes, whatever elements they stand in. The work is
%% bounded by limits below, and grows with the size of the message only; what is beyond them, or cannot be read, is refused.
%%
%% Licensed as mod_tandem is.
-module(mod_tandem_filter_rules).

-export([message/2, request/2, concerns/2]).

-include_lib("p1_xmpp/include/xmpp.hrl").

%% Bytes of names, values and texts; elements; elements in each other; links. No client that people use comes near.
-define(BYTES, 262144).
-define(ELEMENTS, 4096).
-define(DEPTH, 32).
-define(LINKS, 256).

-define(NS_SI_FILE, <<"http://jabber.org/protocol/si/profile/file-transfer">>).
-define(NS_URL_QUERY, <<"jabber:iq:oob">>).

%% ---- messages -------------------------------------------------------------------------------------------------------

%% pass | {rewritten, Element} | {refuse, link | file | unjudged}
message(_, #{urls := <<"allow-all">>, files := <<"allow-all">>}) -> pass;
message(El, #{urls := Urls} = Policy) ->
    try
        bounded(El),
        Linked = judge(items(El, <<>>), Policy),
        case Urls =:= <<"links-as-plain-text">> andalso Linked of
            false -> pass;
            true ->
                Plain = plain(El, <<>>),
                %% What still shows a link, a text that is split among elements for one, is beyond us.
                judge(items(Plain, <<>>), Policy) andalso throw({refuse, unjudged}),
                {rewritten, Plain}
        end
    catch
        throw:{refuse, Why} -> {refuse, Why};
        _:_ -> {refuse, unjudged}
    end.

%% Whether there are links. Throws what is refused.
judge(Items, Policy) -> judge(Items, Policy, 0).

judge([], _, Count) -> Count > 0;
judge([Item | Rest], Policy, Count) ->
    Found = one(Item, Policy),
    Count + Found > ?LINKS andalso throw({refuse, unjudged}),
    judge(Rest, Policy, Count + Found).

one(sealed, _) -> throw({refuse, unjudged});
one(_, #{urls := <<"allow-all">>, files := <<"allow-all">>}) -> 0;
one({file, What}, #{files := Files} = Policy) -> file(What, Files, Policy), 0;
one(_, #{urls := <<"allow-all">>}) -> 0;
one({Kind, Text}, Policy) ->
    Links = mod_tandem_filter_links:found(Kind, Text),
    length(Links) > ?LINKS andalso throw({refuse, unjudged}),
    [link(Link, Policy) || Link <- Links],
    length(Links).

link(_, #{urls := <<"block-messages-with-links">>}) -> throw({refuse, link});
link(Link, #{urls := Urls, intranet := Intranet, extensions := Listed}) ->
    Inside = mod_tandem_filter_links:inside(Link, Intranet),
    Strict = Urls =:= <<"allow-intranet">> orelse Urls =:= <<"block-intranet-links-with-listed-extensions">>,
    Strict andalso not Inside andalso throw({refuse, link}),
    case Urls of
        <<"allow-intranet">> -> ok;
        _ -> mod_tandem_filter_links:listed(Link, Listed) andalso throw({refuse, link})
    end.

file(_, <<"allow-all">>, _) -> ok;
file(_, <<"block-all">>, _) -> throw({refuse, file});
file(channel, _, _) -> ok;
file(unnamed, _, _) -> throw({refuse, file});
file({name, Name}, _, #{extensions := Listed}) ->
    mod_tandem_filter_links:listed_name(Name, Listed) andalso throw({refuse, file});
file({at, Url}, _, #{extensions := Listed}) ->
    [mod_tandem_filter_links:listed(Link, Listed) andalso throw({refuse, file})
     || Link <- mod_tandem_filter_links:found(link, Url)].

%% ---- what stands in a message ---------------------------------------------------------------------------------------

%% {text, T}: may hold links; {link, T}: is one, whatever it looks like; {file, _}; sealed: nobody can read it.
items(#xmlel{name = Name, attrs = Attrs, children = Children}, Around) ->
    Ns = namespace(Attrs, Around),
    case local(Name) of
        <<"encrypted">> -> [sealed];
        <<"openpgp">> -> [sealed];
        <<"e2e">> -> [sealed];
        <<"rtt">> -> [sealed];
        <<"x">> when Ns =:= <<"jabber:x:encrypted">> -> [sealed];
        <<"field">> -> attributes(Attrs) ++ field(Attrs, Children, Ns);
        Local -> attributes(Attrs) ++ own(Local, Ns, Attrs, Children) ++ below(Children, Ns)
    end.

below(Children, Ns) -> lists:append([items(Child, Ns) || #xmlel{} = Child <- Children]).

%% The type of a form is a name that looks like a link.
field(Attrs, Children, Ns) ->
    case lists:keyfind(<<"var">>, 1, Attrs) of
        {_, <<"FORM_TYPE">>} -> [];
        _ -> own(<<"field">>, Ns, Attrs, Children) ++ below(Children, Ns)
    end.

own(Local, Ns, Attrs, Children) ->
    Text = fxml:get_cdata(Children),
    texts(Local, Text) ++ files(Local, Ns, Attrs, Text) ++ whole(Local, Children).

texts(_, <<>>) -> [];
texts(<<"body">>, <<"?OTR", _/binary>>) -> [sealed];
texts(Local, Text) ->
    case is_link_element(Local) of
        true -> [{link, Text}];
        false -> [{text, Text}]
    end.

%% What is shown as one text although it stands in many elements.
whole(<<"html">>, Children) -> [{text, iolist_to_binary(deep(Children))}];
whole(_, _) -> [].

deep(Children) ->
    [case Child of {xmlcdata, Text} -> Text; #xmlel{children = Below} -> deep(Below) end || Child <- Children].

files(<<"url">>, Ns, _, Text) when Ns =:= ?NS_OOB; Ns =:= ?NS_URL_QUERY -> [{file, {at, Text}}];
files(<<"name">>, Ns, _, Text) when Text =/= <<>> ->
    case is_file_namespace(Ns) of
        true -> [{file, {name, Text}}];
        false -> []
    end;
files(<<"media-sharing">>, _, _, _) -> [{file, channel}];
files(<<"file-sharing">>, _, _, _) -> [{file, channel}];
files(<<"file">>, Ns, Attrs, _) ->
    case {is_file_namespace(Ns), lists:keyfind(<<"name">>, 1, Attrs)} of
        {true, {_, Name}} -> [{file, {name, Name}}];
        {true, false} -> [{file, channel}];
        {false, _} -> []
    end;
files(<<"data">>, <<"urn:xmpp:bob">>, _, _) -> [{file, channel}];
files(_, _, _, _) -> [].

is_file_namespace(<<"urn:xmpp:file:metadata:", _/binary>>) -> true;
is_file_namespace(<<"urn:xmpp:jingle:apps:file-transfer:", _/binary>>) -> true;
is_file_namespace(<<"urn:xmpp:sfs:", _/binary>>) -> true;
is_file_namespace(<<"urn:xmpp:sims:", _/binary>>) -> true;
is_file_namespace(Ns) -> Ns =:= ?NS_SI_FILE.

attributes(Attrs) ->
    [{attribute_kind(local(Key)), Value} || {Key, Value} <- Attrs, Value =/= <<>>, not is_plain(Key, Value)].

%% Names of the protocol, which look like links, and addresses of people. No client makes a link of them.
is_plain(<<"xmlns", _/binary>>, _) -> true;
is_plain(Key, _) when Key =:= <<"node">>; Key =:= <<"var">>; Key =:= <<"profile">>; Key =:= <<"to">>; Key =:= <<"from">>;
                      Key =:= <<"jid">>; Key =:= <<"by">> -> true;
%% Who is mentioned (XEP-0372).
is_plain(<<"uri">>, <<"xmpp:", Jid/binary>>) -> binary:match(Jid, [<<"?">>, <<"/">>, <<":">>]) =:= nomatch;
is_plain(_, _) -> false.

attribute_kind(Key) ->
    case lists:member(Key, [<<"href">>, <<"src">>, <<"uri">>, <<"url">>, <<"target">>, <<"action">>, <<"formaction">>,
                            <<"cite">>, <<"background">>, <<"longdesc">>, <<"data">>, <<"poster">>, <<"codebase">>]) of
        true -> link;
        false -> text
    end.

is_link_element(Local) -> lists:member(Local, [<<"url">>, <<"uri">>, <<"link">>, <<"href">>]).

local(Name) -> lists:last(binary:split(Name, <<":">>, [global])).

namespace(Attrs, Around) ->
    case lists:keyfind(<<"xmlns">>, 1, Attrs) of
        {_, Ns} -> Ns;
        false -> Around
    end.

%% ---- links as plain text --------------------------------------------------------------------------------------------

plain(#xmlel{attrs = Attrs, children = Children} = El, Around) ->
    Ns = namespace(Attrs, Around),
    El#xmlel{attrs = [A || A <- Attrs, not has_link(attributes([A]))], children = plain_children(Children, Ns)}.

plain_children(Children, Ns) ->
    Text = fxml:get_cdata(Children),
    case mod_tandem_filter_links:found(text, Text) of
        [] -> lists:append([plain_child(Child, Ns) || Child <- Children]);
        _ ->
            Below = lists:append([plain_child(Child, Ns) || #xmlel{} = Child <- Children]),
            [{xmlcdata, mod_tandem_filter_links:plain(Text)} | Below]
    end.

plain_child({xmlcdata, _} = Text, _) -> [Text];
plain_child(#xmlel{name = Name, attrs = Attrs, children = Children} = El, Around) ->
    Local = local(Name),
    Formatted = Local =:= <<"html">> andalso has_link(items(El, Around)),
    %% A body says in plain text what this says with formats (XEP-0071).
    case Formatted orelse (is_link_element(Local) andalso fxml:get_cdata(Children) =/= <<>>) of
        true -> [];
        false ->
            case lists:keyfind(<<"var">>, 1, Attrs) of
                {_, <<"FORM_TYPE">>} -> [El];
                _ -> [plain(El, Around)]
            end
    end.

has_link(Items) ->
    lists:any(fun({Kind, Text}) when Kind =:= text; Kind =:= link -> mod_tandem_filter_links:found(Kind, Text) =/= [];
                 (_) -> false
              end, Items).

%% ---- requests: files that are offered otherwise than by a message ---------------------------------------------------

%% Whether a request, or the answer to one, may hold a file, by its element; of all others nothing is asked.
concerns(result, #xmlel{attrs = Attrs}) -> namespace(Attrs, <<>>) =:= <<"urn:xmpp:bob">>;
concerns(_, #xmlel{name = Name, attrs = Attrs}) ->
    case namespace(Attrs, <<>>) of
        <<"urn:xmpp:http:upload", _/binary>> -> true;
        <<"urn:xmpp:jingle:", _/binary>> -> true;
        <<"http://jabber.org/protocol/si">> -> true;
        <<"http://jabber.org/protocol/ibb">> -> local(Name) =:= <<"open">>;
        <<"http://jabber.org/protocol/bytestreams">> -> true;
        Ns -> Ns =:= ?NS_URL_QUERY
    end.

%% pass | {refuse, link | file | unjudged}
request(_, #{urls := <<"allow-all">>, files := <<"allow-all">>}) -> pass;
request(El, Policy) ->
    try
        bounded(El),
        [one(Item, Policy) || Item <- offered(El)],
        pass
    catch
        throw:{refuse, Why} -> {refuse, Why};
        _:_ -> {refuse, unjudged}
    end.

offered(#xmlel{attrs = Attrs, children = Children} = El) ->
    case namespace(Attrs, <<>>) of
        <<"urn:xmpp:http:upload">> ->
            %% Of its first version: the name is an element.
            [{file, named(fxml:get_subtag_cdata(El, <<"filename">>))}];
        <<"urn:xmpp:http:upload:", _/binary>> -> [{file, named(fxml:get_tag_attr_s(<<"filename">>, El))}];
        <<"urn:xmpp:jingle:", _/binary>> -> jingle(El);
        <<"http://jabber.org/protocol/si">> ->
            [{file, named(fxml:get_tag_attr_s(<<"name">>, File))} || #xmlel{name = Tag} = File <- Children, local(Tag) =:= <<"file">>];
        ?NS_URL_QUERY -> items(El, <<>>);
        _ -> [{file, channel}]
    end.

%% A file is named when it is offered; later words about it may leave the name out.
jingle(El) ->
    New = lists:member(fxml:get_tag_attr_s(<<"action">>, El), [<<"session-initiate">>, <<"content-add">>]),
    Offers = [D || #xmlel{children = Below} <- El#xmlel.children, #xmlel{name = Tag} = D <- Below, local(Tag) =:= <<"description">>],
    lists:append([offer(D, New) || D <- Offers, is_file_namespace(fxml:get_tag_attr_s(<<"xmlns">>, D))]).

offer(Description, New) ->
    Named = [{file, {name, Name}} || {file, {name, Name}} <- items(Description, <<>>)],
    case Named of
        [] when New -> [{file, unnamed}];
        [] -> [{file, channel}];
        _ -> Named
    end.

named(<<>>) -> unnamed;
named(Name) -> {name, Name}.

%% ---- limits ---------------------------------------------------------------------------------------------------------

bounded(El) ->
    {Bytes, Elements} = bounded([El], 0, {0, 0}),
    (Bytes > ?BYTES orelse Elements > ?ELEMENTS) andalso throw({refuse, unjudged}).

bounded([], _, Sum) -> Sum;
bounded(_, Depth, {Bytes, Elements}) when Depth > ?DEPTH; Bytes > ?BYTES; Elements > ?ELEMENTS -> throw({refuse, unjudged});
bounded([{xmlcdata, Text} | Rest], Depth, {Bytes, Elements}) ->
    bounded(Rest, Depth, {Bytes + byte_size(Text), Elements});
bounded([#xmlel{name = Name, attrs = Attrs, children = Children} | Rest], Depth, {Bytes, Elements}) ->
    Own = lists:sum([byte_size(Key) + byte_size(Value) || {Key, Value} <- Attrs]),
    bounded(Rest, Depth, bounded(Children, Depth + 1, {Bytes + Own + byte_size(Name), Elements + 1})).
