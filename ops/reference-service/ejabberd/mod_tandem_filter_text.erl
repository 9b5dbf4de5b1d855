%% Texts as people see them: compatibility forms folded (NFKC), characters that are not seen left out, percent signs decoded
%% until nothing changes. Linear in the size of the text.
%%
%% Licensed as mod_tandem is.
-module(mod_tandem_filter_text).

-export([normal/1, decoded/1, small/1]).

%% What was encoded more often than so was encoded to hide it.
-define(DECODED, 5).

%% Percent signs decoded until nothing changes; `hidden` when that never ends.
decoded(Text) -> decoded(Text, ?DECODED).

decoded(_, 0) -> hidden;
decoded(Text, Left) ->
    case binary:match(Text, <<"%">>) of
        nomatch -> Text;
        _ ->
            case normal(unescaped(Text)) of
                Text -> Text;
                Other -> decoded(Other, Left - 1)
            end
    end.

unescaped(Text) -> << <<C>> || C <- unescape(binary_to_list(Text)) >>.

unescape([$%, A, B | Rest]) ->
    case {hex(A), hex(B)} of
        {High, Low} when is_integer(High), is_integer(Low) -> [16 * High + Low | unescape(Rest)];
        _ -> [$% | unescape([A, B | Rest])]
    end;
unescape([C | Rest]) -> [C | unescape(Rest)];
unescape([]) -> [].

hex(C) when C >= $0, C =< $9 -> C - $0;
hex(C) when C >= $a, C =< $f -> C - $a + 10;
hex(C) when C >= $A, C =< $F -> C - $A + 10;
hex(_) -> none.

%% Small letters, compatibility forms folded, without what is not seen; spaces of all kinds are spaces, lines end in one, and
%% what is not UTF-8 is a space. Control characters end a name.
normal(Text) ->
    case is_plain(Text) of
        true -> small(Text);
        false ->
            case unicode:characters_to_binary(Text) of
                Text -> small(<< <<(seen(C))/binary>> || <<C/utf8>> <= unicode:characters_to_nfkc_binary(Text) >>);
                _ -> small(<< <<(case C > 127 of true -> $\s; false -> C end)>> || <<C>> <= Text >>)
            end
    end.

is_plain(<<C, Rest/binary>>) when C < 128 -> is_plain(Rest);
is_plain(<<>>) -> true;
is_plain(_) -> false.

small(Text) -> << <<(small_letter(C))>> || <<C>> <= Text >>.

small_letter(C) when C >= $A, C =< $Z -> C + 32;
small_letter(C) when C =:= $\t; C =:= $\n; C =:= $\r -> $\s;
small_letter(C) when C < 32; C =:= 127 -> 0;
small_letter(C) -> C.

seen(C) when C < 16#AD -> <<C/utf8>>;
%% Soft hyphen, joiners, marks of direction, variation selectors, tags: nobody sees them.
seen(C) when C =:= 16#AD; C =:= 16#34F; C =:= 16#61C; C >= 16#115F, C =< 16#1160; C >= 16#17B4, C =< 16#17B5;
             C >= 16#180B, C =< 16#180F; C >= 16#200B, C =< 16#200F; C >= 16#202A, C =< 16#202E; C >= 16#2060, C =< 16#206F;
             C =:= 16#3164; C >= 16#FE00, C =< 16#FE0F; C =:= 16#FEFF; C =:= 16#FFA0; C >= 16#FFF9, C =< 16#FFFB;
             C >= 16#E0000, C =< 16#E0FFF -> <<>>;
seen(C) when C =:= 16#1680; C =:= 16#2028; C =:= 16#2029; C =:= 16#3000 -> <<" ">>;
%% The full stop of Chinese and Japanese is a dot in names of hosts, and in names of files to those who write them so.
seen(16#3002) -> <<".">>;
seen(C) -> <<C/utf8>>.
