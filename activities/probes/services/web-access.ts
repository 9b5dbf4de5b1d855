import type { Facts } from './port.ts';
import type { ProbeRun } from './run.ts';

/** Two browsers, one with WebSocket and one without: each signs in, and they talk. */
export async function webAccess(run: ProbeRun): Promise<Facts> {
  const { target, accounts } = run.order;
  const base = (target.web ?? '').replace(/\/$/, '');
  const socket = await run.signIn('account 1', accounts.first, {
    service: `${base.replace(/^https:/, 'wss:')}/ws`,
    available: true,
  });
  const polling = await run.signIn('account 2', accounts.second, { service: `bosh:${base}/bosh`, available: true });
  await run.delivers('a message over WebSocket to arrive over BOSH', socket, polling);
  await run.delivers('a message over BOSH to arrive over WebSocket', polling, socket);
  return {};
}
