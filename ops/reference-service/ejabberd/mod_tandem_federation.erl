%% What goes between users of this service and those of other domains. Nobody transfers files across, and nobody calls across
%% without the option for it; with a domain that is no trusted partner text is all that goes, whatever a client adds to it.
%% FILTER.md has the rules.
%%
%% Which servers may connect at all is not decided in here: `s2s_access` does.
%%
%% Licensed as mod_tandem is.
-module(mod_tandem_federation).
-behaviour(gen_mod).

-export([start/2, stop/1, reload/3, depends/2, mod_options/1, mod_opt_type/1, mod_doc/0]).
-export([sent/1, routed/1]).

-include_lib("p1_xmpp/include/xmpp.hrl").

%% Before the message filter (5), which is to judge what goes on and nothing else.
-define(FIRST, 4).

depends(_, _) -> [].

mod_doc() -> #{desc => <<"Lets no files, no calls and, with third parties, nothing but text go to other domains.">>}.

%% A domain that nobody has named is not trusted.
mod_options(_) -> [{partners, []}, {public_im, []}, {external_av, false}].

mod_opt_type(partners) -> econf:list(econf:domain());
mod_opt_type(public_im) -> econf:list(econf:domain());
mod_opt_type(external_av) -> econf:bool().

start(Host, _) ->
    ejabberd_hooks:add(user_send_packet, Host, ?MODULE, sent, ?FIRST),
    ejabberd_hooks:add(filter_packet, ?MODULE, routed, ?FIRST),
    ok.

stop(Host) ->
    ejabberd_hooks:delete(filter_packet, ?MODULE, routed, ?FIRST),
    ejabberd_hooks:delete(user_send_packet, Host, ?MODULE, sent, ?FIRST).

reload(_, _, _) -> ok.

%% ---- where stanzas pass ---------------------------------------------------------------------------------------------

%% Before copies and the archive are made of it.
sent({drop, _} = Dropped) -> Dropped;
sent({Packet, State}) ->
    case judged(Packet) of
        drop -> {stop, {drop, State}};
        Judged -> {Judged, State}
    end;
sent(Other) -> Other.

routed(drop) -> drop;
routed(Packet) ->
    case judged(Packet) of
        drop -> {stop, drop};
        Judged -> Judged
    end.

%% ejabberd goes on with the packet when a hook fails: nothing in here may.
judged(Packet) ->
    try across(xmpp:get_from(Packet), xmpp:get_to(Packet)) of
        none -> Packet;
        Rules -> told(verdict(Packet, Rules), Packet)
    catch
        _:_ -> drop
    end.

%% The rules for the other domain: text alone, text and presence, or what is refused; none when both ends are ours.
across(#jid{lserver = From}, #jid{lserver = To}) ->
    case {host_of(From), host_of(To)} of
        {none, none} -> none;
        {none, Host} -> rules(Host, From);
        {Host, none} -> rules(Host, To);
        _ -> none
    end;
across(_, _) -> none.

host_of(Server) ->
    try
        Host = ejabberd_router:host_of_route(Server),
        true = gen_mod:is_loaded(Host, ?MODULE),
        Host
    catch
        _:_ -> none
    end.

rules(Host, Other) ->
    Named = fun(Option) -> lists:member(Other, gen_mod:get_module_opt(Host, ?MODULE, Option)) end,
    case {Named(partners), Named(public_im)} of
        {false, true} -> presence;
        {false, false} -> text;
        {true, _} ->
            case gen_mod:get_module_opt(Host, ?MODULE, external_av) of
                true -> [file];
                false -> [file, call]
            end
    end.

%% ---- what is let through --------------------------------------------------------------------------------------------

%% {pass, Packet} | drop | {refuse, text | file | call}
verdict(#presence{} = Presence, presence) -> {pass, Presence};
verdict(Packet, presence) -> verdict(Packet, text);
verdict(#presence{type = error} = Answer, text) ->
    {pass, Answer#presence{sub_els = [E || #stanza_error{} = E <- [xmpp:get_error(Answer)]]}};
verdict(#presence{type = subscribe}, text) -> {refuse, text};
verdict(#presence{}, text) -> drop;
verdict(#iq{type = error} = Answer, text) -> {pass, Answer#iq{sub_els = [E || #stanza_error{} = E <- [xmpp:get_error(Answer)]]}};
verdict(#iq{type = result}, text) -> drop;
verdict(#iq{}, text) -> {refuse, text};
verdict(#message{type = error} = Answer, text) ->
    {pass, Answer#message{subject = [], body = [], thread = undefined,
                          sub_els = [E || #stanza_error{} = E <- [xmpp:get_error(Answer)]]}};
verdict(#message{} = Message, text) ->
    case offers(xmpp:encode(Message)) of
        [] -> text_of(Message);
        _ -> {refuse, text}
    end;
verdict(#presence{} = Presence, _) -> {pass, Presence};
verdict(#iq{type = error} = Answer, _) -> {pass, Answer};
verdict(Packet, Refused) ->
    Offered = offers(xmpp:encode(Packet)),
    case {[What || What <- Refused, lists:member(What, Offered)], Packet} of
        {[], _} -> {pass, Packet};
        {_, #iq{type = result}} -> drop;
        {_, #message{type = error}} -> drop;
        {[What | _], _} -> {refuse, What}
    end.

%% Who writes, what he writes, and whether it has come. What is left of a sign of typing is nothing.
text_of(Message) ->
    #xmlel{children = Children} = El = xmpp:encode(Message),
    Text = El#xmlel{children = [Child || #xmlel{} = Child <- Children, is_text(Child)]},
    case Text#xmlel.children of
        [] -> drop;
        _ ->
            #message{} = Plain = xmpp:decode(Text, ?NS_CLIENT, [ignore_els]),
            {pass, Plain#message{meta = Message#message.meta}}
    end.

is_text(#xmlel{name = Name} = El) ->
    case fxml:get_tag_attr_s(<<"xmlns">>, El) of
        Ns when Ns =:= <<>>; Ns =:= ?NS_CLIENT; Ns =:= ?NS_SERVER ->
            lists:member(Name, [<<"body">>, <<"subject">>, <<"thread">>]);
        Ns ->
            lists:member(Ns, [<<"urn:xmpp:receipts">>, <<"urn:xmpp:delay">>, <<"urn:xmpp:hints">>, <<"urn:xmpp:sid:0">>,
                              <<"urn:xmpp:message-correct:0">>])
    end.

%% Files and calls that stand anywhere in it.
offers(#xmlel{children = Children} = El) ->
    Own = [What || What <- [offer(fxml:get_tag_attr_s(<<"xmlns">>, El))], What =/= none],
    lists:usort(Own ++ lists:append([offers(Child) || #xmlel{} = Child <- Children])).

offer(<<"jabber:x:oob">>) -> file;
offer(<<"jabber:iq:oob">>) -> file;
offer(<<"urn:xmpp:sfs:", _/binary>>) -> file;
offer(<<"urn:xmpp:sims:", _/binary>>) -> file;
offer(<<"urn:xmpp:file:metadata:", _/binary>>) -> file;
offer(<<"urn:xmpp:http:upload", _/binary>>) -> file;
offer(<<"urn:xmpp:bob">>) -> file;
offer(<<"http://jabber.org/protocol/si">>) -> file;
offer(<<"http://jabber.org/protocol/ibb">>) -> file;
offer(<<"http://jabber.org/protocol/bytestreams">>) -> file;
offer(<<"urn:xmpp:jingle:apps:file-transfer:", _/binary>>) -> file;
offer(<<"urn:xmpp:jingle", _/binary>>) -> call;
offer(<<"urn:xmpp:call-invites:", _/binary>>) -> call;
offer(_) -> none.

%% ---- what is refused ------------------------------------------------------------------------------------------------

told({pass, Packet}, _) -> Packet;
told(drop, _) -> drop;
told({refuse, What}, Packet) ->
    answer(Packet, xmpp:err_policy_violation(why(What), xmpp:get_lang(Packet))),
    drop.

why(text) -> <<"not delivered: this service carries text only to and from the other domain">>;
why(file) -> <<"not delivered: this service carries no files to and from other domains">>;
why(call) -> <<"not delivered: this service carries no calls to and from other domains">>.

%% Without what was refused; our own word, which the message filter does not judge.
answer(#message{id = Id} = Message, Error) ->
    Answer = #message{type = error, id = Id, from = xmpp:get_to(Message), to = xmpp:get_from(Message), sub_els = [Error]},
    ejabberd_router:route(xmpp:put_meta(Answer, tandem_filtered, own));
answer(#iq{id = Id} = Request, Error) ->
    ejabberd_router:route(#iq{type = error, id = Id, from = xmpp:get_to(Request), to = xmpp:get_from(Request), sub_els = [Error]});
answer(#presence{id = Id} = Presence, Error) ->
    ejabberd_router:route(
      #presence{type = error, id = Id, from = xmpp:get_to(Presence), to = xmpp:get_from(Presence), sub_els = [Error]}).
