/** What the worker tells the process that supervises a command. Its environment goes this way, never through arguments. */
export type ToSupervisor = { run: SupervisedCommand } | { cancel: true };

export interface SupervisedCommand {
  /** An absolute path, and its arguments. */
  argv: readonly string[];
  environment: Record<string, string>;
  limitMs: number;
  /** It is ended when it prints more. */
  outputBytes: number;
}

export type FromSupervisor = { started: number } | { ended: CommandEnd };

export interface CommandEnd {
  /** `exit`: by itself. Otherwise its group was killed, and why; or it could not be started. */
  how: 'exit' | 'limit' | 'output' | 'cancel' | 'unstarted';
  /** Exit code; null when a signal ended it. */
  code: number | null;
  signal: string | null;
  /** Bytes that it printed. */
  bytes: number;
  /** Of what it printed, the last. */
  tail: string;
}
