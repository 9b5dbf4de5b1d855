%% Home routing and the right to serve, for one domain on two independent ejabberd nodes.
%%
%% Every user has a home (`tandem.home`), every half has a row that says which site may serve it (`tandem.serving`), and a
%% row that is older than this site's newest epoch (`tandem.epoch`) says nothing. Where the customer has a directory, it lets
%% a user in or does not (`tandem.entitlement`). This module reads them from the site's own database and obeys: a stanza for
%% a user whom the peer serves goes to the peer, a sign-in is sent there, and where neither site is known to serve, nobody is
%% served. It fails closed: no home, no row, an older row, a row that could not be read in time are all a no.
%%
%% Licensed under the GNU General Public License, version 2 or later, as the headers are against which it is compiled; see
%% LICENSE beside it.
-module(mod_tandem).
-behaviour(gen_mod).

-export([start/2, stop/1, reload/3, depends/2, mod_options/1, mod_opt_type/1, mod_doc/0]).
-export([filter/1, received/3]).
-export([where/2, rights/1]).

-include_lib("p1_xmpp/include/xmpp.hrl").
-include("ejabberd_commands.hrl").

%% Nobody is sent to a peer that does not answer within this. ms.
-define(ANSWER, 500).

depends(_, _) -> [].

mod_doc() -> #{desc => <<"Routes to the site that serves a user, and serves nobody without the right to.">>}.

mod_options(_) -> [{site, <<"">>}, {peer, <<"">>}, {peer_node, <<"">>}, {peer_clients, <<"">>}].

mod_opt_type(_) -> econf:binary().

start(Host, Opts) ->
    Started = gen_mod:start_child(mod_tandem_rights, Host, Opts, gen_mod:get_module_proc(Host, ?MODULE)),
    ok = mod_tandem_link:start(Host),
    ejabberd_hooks:add(filter_packet, ?MODULE, filter, 10),
    ejabberd_hooks:add(c2s_handle_recv, Host, ?MODULE, received, 10),
    %% Not with our name as the definer: 23.01 then does not find them again to take them away.
    ejabberd_commands:register_commands(commands()),
    Started.

stop(Host) ->
    ejabberd_commands:unregister_commands(commands()),
    ejabberd_hooks:delete(c2s_handle_recv, Host, ?MODULE, received, 10),
    ejabberd_hooks:delete(filter_packet, ?MODULE, filter, 10),
    mod_tandem_link:stop(Host),
    gen_mod:stop_child(gen_mod:get_module_proc(Host, ?MODULE)).

reload(Host, _, _) ->
    mod_tandem_rights:look_again(Host),
    ok.

%% ---- what is decided ------------------------------------------------------------------------------------------------

%% here | {peer, Node | none} | closed
served(Host, User) ->
    #{site := Own, peer := Peer, node := Node} = mod_tandem_rights:own(Host),
    case mod_tandem_rights:believed(Host) of
        unread -> closed;
        Rights ->
            case maps:find(mod_tandem_rights:home(Host, User), Rights) of
                {ok, Own} -> here;
                {ok, Peer} -> {peer, Node};
                _ -> closed
            end
    end.

%% ---- what is done with stanzas and sign-ins -------------------------------------------------------------------------

filter(drop) -> drop;
filter(Packet) ->
    case xmpp:get_to(Packet) of
        #jid{lserver = Host, luser = User} when User =/= <<>> ->
            case mod_tandem_rights:own(Host) of
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
            case xmpp:get_meta(Packet, tandem_peer, false) orelse not mod_tandem_link:send(Host, Node, Packet) of
                true -> refuse(Packet);
                false -> drop
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
        true -> mod_tandem_link:send(Host, maps:get(node, mod_tandem_rights:own(Host)), xmpp:del_meta(Error, tandem_peer));
        false -> ejabberd_router:route(Error)
    end.

%% After SASL, when a resource is bound: until then nothing is known of who signs in.
received(#{user := User, lserver := Host} = State, _, #iq{type = set} = Packet) when User =/= <<>> ->
    case xmpp:has_subtag(Packet, #bind{}) of
        false -> stays(State);
        true ->
            case served(Host, jid:nodeprep(User)) of
                here -> State;
                {peer, Node} ->
                    #{clients := Clients} = mod_tandem_rights:own(Host),
                    case Clients =/= <<>> andalso answers(Node) of
                        true -> leave(State, #'see-other-host'{host = Clients});
                        %% A peer out of reach may be a dead one: to be tried again here is better than to be sent there.
                        false -> leave(State, 'remote-connection-failed')
                    end;
                closed -> leave(State, 'system-shutdown')
            end
    end;
received(#{user := User} = State, _, #presence{}) when User =/= <<>> ->
    stays(State);
received(State, _, _) ->
    State.

%% What is changed in a session that is about to be ended would be in no copy: lists, contacts, and who may see whom.
stays(#{user := User, lserver := Host} = State) ->
    case served(Host, jid:nodeprep(User)) of
        here -> State;
        _ -> leave(State, 'system-shutdown')
    end.

%% A frozen peer is among the nodes for some seconds yet, and takes connections.
answers(Node) -> lists:member(Node, nodes()) andalso rpc:call(Node, erlang, node, [], ?ANSWER) =:= Node.

leave(State, Reason) ->
    xmpp_stream_in:send(State, #stream_error{reason = Reason}).

%% ---- what operators and Tandem ask ----------------------------------------------------------------------------------

where(User, Host) ->
    case served(Host, jid:nodeprep(User)) of
        here -> <<"here">>;
        {peer, _} -> <<"peer">>;
        closed -> <<"closed">>
    end.

rights(Host) ->
    case mod_tandem_rights:believed(Host) of
        unread -> [];
        Rights -> [<<Half/binary, $=, Site/binary>> || {Half, Site} <- maps:to_list(Rights)]
    end.

commands() ->
    [#ejabberd_commands{name = tandem_look_again, tags = [tandem], desc = "Read the right to serve now",
        module = mod_tandem_rights, function = look_again, args = [{host, binary}], result = {res, rescode}},
     #ejabberd_commands{name = tandem_where, tags = [tandem], desc = "Where a user is served: here, peer or closed",
        module = ?MODULE, function = where, args = [{user, binary}, {host, binary}], result = {site, string}},
     #ejabberd_commands{name = tandem_faults, tags = [tandem], desc = "What is wrong with this configuration for Tandem",
        module = mod_tandem_doctor, function = faults, args = [{host, binary}], result = {faults, {list, {fault, string}}}},
     #ejabberd_commands{name = tandem_modules, tags = [tandem], desc = "The modules that are loaded",
        module = mod_tandem_doctor, function = modules, args = [{host, binary}], result = {modules, {list, {module, string}}}},
     #ejabberd_commands{name = tandem_ran_through, tags = [tandem], desc = "Whether it has served since the site was last known to live",
        module = mod_tandem_rights, function = ran_through, args = [{host, binary}], result = {res, rescode}},
     #ejabberd_commands{name = tandem_rights, tags = [tandem], desc = "The halves and the sites that may serve them",
        module = ?MODULE, function = rights, args = [{host, binary}], result = {rights, {list, {right, string}}}}].
