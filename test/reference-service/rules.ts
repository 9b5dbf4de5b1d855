import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { defaultFilter, filterDigest, filterDocument, type FilterPolicy } from '../../activities/filter/policy.ts';
import { compileModule, findEjabberd } from '../../ops/reference-service/ejabberd/installed.ts';

/** The rules of the message filter, asked in Erlang without a server. */

const intranet = ['contoso.example', 'xn--bcher-kva.example', '10.1.2.3'];
export const policy = (change: Partial<FilterPolicy> = {}): FilterPolicy => ({ ...defaultFilter, intranet, ...change });

export const message = (inside: string): string =>
  `<message to='b@acme.example/www.x' type='chat' id='1'>${inside}</message>`;
const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
export const says = (text: string): string => message(`<body>${escaped(text)}</body>`);

/** `pass`, `refuse: link | file | unjudged`, or the message as it was rewritten. */
export type Verdict = string;

/** Each of them by one policy: messages, or the elements of requests. */
export async function ask(stanzas: readonly string[], change: Partial<FilterPolicy>): Promise<Verdict[]> {
  const by = policy(change);
  return inErlang<Verdict>(
    stanzas.map((stanza) => [filterDocument(by), filterDigest(by), stanza]),
    `fun([Document, Digest, Text]) ->
       Policy = mod_tandem_filter_policy:parse(Document, Digest),
       El = fxml_stream:parse_element(Text),
       Judged = case element(2, El) of
         <<"message">> -> mod_tandem_filter_rules:message(El, Policy);
         <<"result">> ->
           [Of] = element(4, El),
           case mod_tandem_filter_rules:concerns(result, Of) of true -> mod_tandem_filter_rules:request(Of, Policy); false -> pass end;
         _ -> true = mod_tandem_filter_rules:concerns(set, El), mod_tandem_filter_rules:request(El, Policy)
       end,
       case Judged of
         pass -> <<"pass">>;
         {refuse, Why} -> iolist_to_binary(["refuse: ", atom_to_list(Why)]);
         {rewritten, Plain} -> fxml:element_to_binary(Plain)
       end
     end`,
  );
}

/** Whether each name ends in one of the extensions. */
export async function listed(names: readonly string[], extensions: string[]): Promise<boolean[]> {
  const set = `maps:from_list([${extensions.map((e) => `{<<"${e}">>, true}`).join()}])`;
  return inErlang<boolean>(names, `fun(Name) -> mod_tandem_filter_links:listed_name(Name, ${set}) end`);
}

/** What `parse` makes of rows: whether they are taken. */
export async function taken(rows: readonly { document: string; digest: string }[]): Promise<boolean[]> {
  const pairs = rows.map(({ document, digest }) => [document, digest]);
  return inErlang<boolean>(pairs, `fun([D, S]) -> is_map(mod_tandem_filter_policy:parse(D, S)) end`);
}

/** All in one Erlang, which stays: to start it is most of what a question costs. */
async function inErlang<T>(input: readonly unknown[], work: string): Promise<T[]> {
  const folder = await mkdtemp(join(tmpdir(), 'tandem-rules-'));
  try {
    await writeFile(join(folder, 'asked'), JSON.stringify(input));
    const program = `
      {ok, Asked} = file:read_file("${folder}/asked"),
      Work = ${work},
      ok = file:write_file("${folder}/told", jiffy:encode([Work(Q) || Q <- jiffy:decode(Asked)])).`;
    await writeFile(join(folder, 'program'), program);
    erlang ??= startErlang();
    const { child, lines } = await erlang;
    const late = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS);
    child.stdin?.write(`${folder}\n`);
    const { value } = await lines.next();
    clearTimeout(late);
    if (value !== 'ok') throw new Error(`Erlang: ${value ?? 'it has ended'}`);
    return JSON.parse(await readFile(join(folder, 'told'), 'utf8')) as T[];
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const LIMIT_MS = 60_000;
/** It is told folders, one a line, and does what the program in each says. */
const LOOP = `
  {ok, _} = application:ensure_all_started(fast_xml), {ok, _} = application:ensure_all_started(idna),
  (fun Loop() -> case io:get_line("") of
     eof -> halt();
     Line ->
       Done = file:eval(filename:join(string:trim(Line), "program")),
       io:format("~0p~n", [Done]), Loop()
   end end)().`;
let erlang: ReturnType<typeof startErlang> | null = null;

/** It ends with whoever asks: its input does. */
async function startErlang(): Promise<{ child: ChildProcess; lines: AsyncIterator<string, undefined> }> {
  const ejabberd = findEjabberd();
  if (!ejabberd) throw new Error('no ejabberd');
  const code = await compileModule(ejabberd);
  const child = spawn('erl', ['-noshell', '-pa', code, '-eval', LOOP.replaceAll(/\s+/g, ' ')], {
    env: { PATH: process.env['PATH'], HOME: tmpdir(), ERL_LIBS: ejabberd.libraries, ERL_CRASH_DUMP_BYTES: '0' },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() };
}

/** Verdicts by what was judged, so that a difference names it. */
export const table = (stanzas: readonly string[], verdicts: readonly Verdict[]): Record<string, Verdict> =>
  Object.fromEntries(stanzas.map((stanza, i) => [stanza, verdicts[i] ?? '']));
export const all = (stanzas: readonly string[], verdict: Verdict): Record<string, Verdict> =>
  Object.fromEntries(stanzas.map((stanza) => [stanza, verdict]));
