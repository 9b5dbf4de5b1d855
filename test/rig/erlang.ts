import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** Calls a function in an ejabberd, as `ejabberdctl` would: from a node of its own. Answers what Erlang prints of the result. Texts
 * are given as binaries. */
export async function call(
  { node, port, home }: { node: string; port: number; home: string },
  expression: { module: string; name: string; args: readonly (string | { term: string })[] },
): Promise<string> {
  const { module, name, args } = expression;
  // An atom comes in its quotes; all else is a text, or a term as Erlang writes it.
  const given = args
    .map((arg) => (typeof arg !== 'string' ? arg.term : /^'.*'$/.test(arg) ? arg : `<<"${arg}">>`))
    .join();
  const program = `io:format("~p", [rpc:call('${node}', ${module}, ${name}, [${given}], 8000)]), halt().`;
  const named = ['-noinput', '-hidden', '-name', `ask${process.pid}@127.0.0.1`, '-dist_listen', 'false'];
  const distribution = ['-start_epmd', 'false', '-erl_epmd_port', String(port)];
  // Its cookie lies in its home, and in no list of arguments.
  const { stdout } = await promisify(execFile)('erl', [...named, ...distribution, '-eval', program], {
    env: { PATH: process.env['PATH'], HOME: home },
    timeout: 20_000,
  });
  return stdout;
}
