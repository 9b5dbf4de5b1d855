/** What somebody whose word a move refuses should do, by the reason that it gives. */
const remedies: readonly (readonly [because: RegExp, next: string])[] = [
  [
    /is not an operator of this plan|is no operator here/,
    'Give `--operator` as the move names them; who is new is admitted before it starts: `tandem keys admit --help`.',
  ],
  [/: it takes the role /, 'Ask somebody who has that role: `tandem config check` lists them.'],
  [/: add --accept /, 'Read what the plan loses; if that is to be, give the same command with what it names.'],
  [/nothing asks to accept/, 'Give the same command without that `--accept`.'],
  [
    /the key of \S+ expired at/,
    'Another operator signs. A new key counts for moves that start later: `tandem keys new operator`, `keys admit`.',
  ],
  [
    /does not hold/,
    'Sign with the private half of the key that tandem.yaml has for this operator, and what is shown or printed now.',
  ],
  [/this signature was used before|the signature expired at/, 'Give the command again: each word is signed anew.'],
  [/the signature lives until/, 'Set the clock of the machine that signs, then sign again.'],
  [/another operator must$/, 'Ask another operator to give the same command.'],
  [/nobody could be paged/, '`tandem notify test` tries the ways to them. Until then a second operator must sign.'],
];

/** Null when the reason is none of these: how the move stands tells more then. */
export function remedyFor(reason: string): string | null {
  return remedies.find(([because]) => because.test(reason))?.[1] ?? null;
}
