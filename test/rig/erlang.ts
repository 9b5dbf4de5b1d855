import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';

export interface ErlangNode {
  node: string;
  port: number;
  home: string;
}

export interface Call {
  module: string;
  name: string;
  args: readonly (string | { term: string })[];
}

const LIMIT_MS = 20_000;
const ANSWER = 'answer: ';

/**
 * Calls functions in an ejabberd, as `ejabberdctl` would: from a node of its own, which starts at the first question and stays,
 * because to start one costs more than a hundred questions. One question at a time.
 */
export class Asker {
  private readonly to: ErlangNode;
  private started: { child: ChildProcess; lines: AsyncIterator<string, undefined> } | null = null;
  private turn: Promise<unknown> = Promise.resolve();

  constructor(to: ErlangNode) {
    this.to = to;
  }

  /** Answers what Erlang prints of the result. */
  call({ module, name, args }: Call): Promise<string> {
    // An atom comes in its quotes; all else is a text, or a term as Erlang writes it.
    const given = args
      .map((arg) => (typeof arg !== 'string' ? arg.term : /^'.*'$/.test(arg) ? arg : `<<"${arg}">>`))
      .join();
    const ask = async (): Promise<string> => {
      const { child, lines } = (this.started ??= start(this.to));
      const late = setTimeout(() => this.close(), LIMIT_MS);
      child.stdin?.write(`{${module}, ${name}, [${given}]}.\n`);
      try {
        for (;;) {
          const { value = '', done } = await lines.next();
          if (done === true) {
            this.close();
            throw new Error(`${module}:${name}: no answer`);
          }
          // Other lines are what the function itself prints.
          if (value.startsWith(ANSWER)) return value.slice(ANSWER.length);
        }
      } finally {
        clearTimeout(late);
      }
    };
    const answer = this.turn.then(ask, ask);
    this.turn = answer.catch(() => undefined);
    return answer;
  }

  close(): void {
    this.started?.child.kill('SIGKILL');
    this.started = null;
  }
}

function start({ node, port, home }: ErlangNode): { child: ChildProcess; lines: AsyncIterator<string, undefined> } {
  const named = ['-noshell', '-hidden', '-name', `ask${process.pid}-${asked++}@127.0.0.1`, '-dist_listen', 'false'];
  const distribution = ['-start_epmd', 'false', '-erl_epmd_port', String(port)];
  const idle = ['+sbwt', 'none', '+sbwtdcpu', 'none', '+sbwtdio', 'none'];
  // Its cookie lies in its home, and in no list of arguments.
  const child = spawn('erl', [...idle, ...named, ...distribution, '-eval', program(node)], {
    env: { PATH: process.env['PATH'], HOME: home, ERL_CRASH_DUMP_BYTES: '0' },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() };
}

let asked = 0;

const program = (node: string): string => `
  (fun Loop() -> case io:get_line("") of
     eof -> halt();
     Line ->
       {ok, Tokens, _} = erl_scan:string(Line), {ok, {M, F, A}} = erl_parse:parse_term(Tokens),
       io:format("~n${ANSWER}~0p~n", [rpc:call('${node}', M, F, A, 8000)]), Loop()
   end end)()`;
