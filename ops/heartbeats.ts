import type { Context } from '@temporalio/activity';
import type { ActivityExecuteInput, ActivityInboundCallsInterceptor, Next } from '@temporalio/worker';

/** Within a time-out: three may be lost. */
const BEATS = 4;

/**
 * Keeps every activity's heartbeat going, with the newest progress it reported: a worker that was killed is then noticed
 * after seconds, whatever the activity was doing. What hangs is ended by its own time limit, which beats do not extend.
 */
export class SteadyHeartbeat implements ActivityInboundCallsInterceptor {
  private readonly context: Context;

  constructor(context: Context) {
    this.context = context;
  }

  async execute(input: ActivityExecuteInput, next: Next<ActivityInboundCallsInterceptor, 'execute'>): Promise<unknown> {
    const { heartbeatTimeoutMs } = this.context.info;
    if (!heartbeatTimeoutMs) return next(input);
    let progress: unknown = this.context.info.heartbeatDetails;
    const beat = this.context.heartbeat;
    const remember = (details: unknown): void => {
      progress = details;
      beat(details);
    };
    Object.defineProperty(this.context, 'heartbeat', { value: remember });
    const timer = setInterval(() => beat(progress), heartbeatTimeoutMs / BEATS);
    try {
      return await next(input);
    } finally {
      clearInterval(timer);
    }
  }
}
