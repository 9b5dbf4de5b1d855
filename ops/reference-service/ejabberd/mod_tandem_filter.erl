%% The instant-message filter: what users write to each other, and the files they offer, by the policy of the customer that
%% Tandem keeps in the site's own database (`tandem.filter_policy`). The same at both sites. FILTER.md has the rules.
%%
%% It fails closed: without a policy that was read a moment ago no message is delivered, and no file offered. What cannot be
%% judged is refused.
%%
%% Licensed under the GNU General Public License, version 2 or later, as the headers are against which it is compiled; see
%% LICENSE beside it.
-module(mod_tandem_filter).
-behaviour(gen_mod).

-export([start/2, stop/1, reload/3, depends/2, mod_options/1, mod_doc/0]).
-export([sent/1, routed/1, digest/1]).

-include_lib("p1_xmpp/include/xmpp.hrl").
-include("ejabberd_commands.hrl").

%% Before copies to the sender's other clients and the archive are made of it (88 and 89), and before mod_tandem (10) takes it to
%% the peer.
-define(FIRST, 5).

depends(_, _) -> [].

mod_doc() -> #{desc => <<"Filters links and files by the customer's policy.">>}.

mod_options(_) -> [].

start(Host, Opts) ->
    Started = gen_mod:start_child(mod_tandem_filter_policy, Host, Opts, gen_mod:get_module_proc(Host, ?MODULE)),
    ejabberd_hooks:add(user_send_packet, Host, ?MODULE, sent, ?FIRST),
    ejabberd_hooks:add(filter_packet, ?MODULE, routed, ?FIRST),
    ejabberd_commands:register_commands(?MODULE, commands()),
    Started.

stop(Host) ->
    ejabberd_commands:unregister_commands(commands()),
    ejabberd_hooks:delete(filter_packet, ?MODULE, routed, ?FIRST),
    ejabberd_hooks:delete(user_send_packet, Host, ?MODULE, sent, ?FIRST),
    gen_mod:stop_child(gen_mod:get_module_proc(Host, ?MODULE)).

reload(_, _, _) -> ok.

%% ---- where stanzas pass ---------------------------------------------------------------------------------------------

%% From a user of this site.
sent({drop, _} = Dropped) -> Dropped;
sent({Packet, #{lserver := Host} = State}) ->
    case judged(Packet, Host) of
        drop -> {stop, {drop, State}};
        Judged -> {Judged, State}
    end;
%% Not a session: what it sends is routed.
sent(Other) -> Other.

%% From anybody, also from other services and from the peer.
routed(drop) -> drop;
routed(Packet) ->
    case host_of(xmpp:get_to(Packet), xmpp:get_from(Packet)) of
        none -> Packet;
        Host ->
            case judged(Packet, Host) of
                drop -> {stop, drop};
                Judged -> Judged
            end
    end.

%% The host of this node that it goes to, or else that it comes from.
host_of(To, From) ->
    case local(To) of
        none -> local(From);
        Host -> Host
    end.

local(#jid{lserver = Server}) ->
    try
        Host = ejabberd_router:host_of_route(Server),
        case gen_mod:is_loaded(Host, ?MODULE) of
            true -> Host;
            false -> none
        end
    catch
        _:_ -> none % Not ours.
    end;
local(_) -> none.

%% The packet as it may go on, or drop; whoever sent it has been told. ejabberd goes on with the packet when a hook fails: nothing
%% in here may.
judged(Packet, Host) ->
    try verdict(Packet, mod_tandem_filter_policy:believed(Host)) of
        {pass, Judged} -> Judged;
        {refuse, Why} -> refuse(Packet, Why)
    catch
        _:_ -> refuse(Packet, unjudged)
    end.

verdict(#message{} = Message, Policy) ->
    Seen = xmpp:get_meta(Message, tandem_filtered, none),
    case Policy of
        _ when Seen =:= own -> {pass, Message};
        none -> {refuse, unread};
        %% By this very policy, on its way here or at the peer.
        #{digest := Seen} -> {pass, Message};
        #{digest := Digest} ->
            case mod_tandem_filter_rules:message(xmpp:encode(Message), Policy) of
                pass -> {pass, xmpp:put_meta(Message, tandem_filtered, Digest)};
                {rewritten, El} ->
                    #message{meta = Meta} = Message,
                    #message{} = Plain = xmpp:decode(El, ?NS_CLIENT, [ignore_els]),
                    {pass, xmpp:put_meta(Plain#message{meta = Meta}, tandem_filtered, Digest)};
                Refused -> Refused
            end
    end;
verdict(#iq{type = Type, sub_els = Els} = Request, Policy) when Type =/= error ->
    Offers = [El || El <- [xmpp:encode(E) || E <- Els], mod_tandem_filter_rules:concerns(Type, El)],
    case {Offers, Policy} of
        {[], _} -> {pass, Request};
        {_, none} -> {refuse, unread};
        _ ->
            Refused = [Verdict || El <- Offers, Verdict <- [mod_tandem_filter_rules:request(El, Policy)], Verdict =/= pass],
            hd(Refused ++ [{pass, Request}])
    end;
verdict(Other, _) -> {pass, Other}.

%% ---- what is refused ------------------------------------------------------------------------------------------------

%% An error goes on with its condition alone: whoever waits for it must not wait for ever, and nothing answers an error.
refuse(#message{type = error} = Message, _) ->
    case xmpp:get_error(Message) of
        #stanza_error{} = Error ->
            Bare = Error#stanza_error{text = [], sub_els = [], by = undefined},
            Plain = #message{type = error, id = Message#message.id, from = xmpp:get_from(Message), to = xmpp:get_to(Message),
                             meta = Message#message.meta, sub_els = [Bare#stanza_error{reason = bare(Error#stanza_error.reason)}]},
            xmpp:put_meta(Plain, tandem_filtered, own);
        _ -> drop
    end;
refuse(#iq{type = result}, _) -> drop;
refuse(Packet, Why) ->
    answer(Packet, error_for(Why, xmpp:get_lang(Packet))),
    drop.

bare(#gone{}) -> #gone{};
bare(#redirect{}) -> #redirect{};
bare(Reason) -> Reason.

%% Without what was refused, which the answer would otherwise hold.
answer(#message{id = Id} = Message, Error) ->
    Answer = #message{type = error, id = Id, from = xmpp:get_to(Message), to = xmpp:get_from(Message), sub_els = [Error]},
    ejabberd_router:route(xmpp:put_meta(Answer, tandem_filtered, own));
answer(#iq{id = Id} = Request, Error) ->
    ejabberd_router:route(
      #iq{type = error, id = Id, from = xmpp:get_to(Request), to = xmpp:get_from(Request), sub_els = [Error]}).

error_for(link, Lang) ->
    xmpp:err_policy_violation(<<"not delivered: the message filter of this service does not let its link through">>, Lang);
error_for(file, Lang) ->
    xmpp:err_policy_violation(<<"not delivered: the message filter of this service does not let its file through">>, Lang);
error_for(unjudged, Lang) ->
    xmpp:err_policy_violation(<<"not delivered: the message filter of this service cannot see what is in it">>, Lang);
error_for(unread, Lang) ->
    xmpp:err_resource_constraint(<<"not delivered: the message filter of this service is not ready; try again later">>, Lang).

%% ---- what Tandem asks -----------------------------------------------------------------------------------------------

%% The digest of the policy that messages are judged by now; `none` when all are refused.
digest(Host) ->
    case mod_tandem_filter_policy:believed(Host) of
        #{digest := Digest} -> Digest;
        none -> <<"none">>
    end.

commands() ->
    [#ejabberd_commands{name = tandem_filter_digest, tags = [tandem], desc = "The digest of the message filter's policy in force",
        module = ?MODULE, function = digest, args = [{host, binary}], result = {digest, string}}].
