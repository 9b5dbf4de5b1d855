/** Does `work`, and `close` after it, also when the walk is told to end in the middle. */
export async function orderly<T>(close: () => Promise<void>, work: () => Promise<T>): Promise<T> {
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  const stop = (): void => void close().finally(() => process.exit(1));
  for (const signal of signals) process.once(signal, stop);
  try {
    return await work();
  } finally {
    for (const signal of signals) process.off(signal, stop);
    await close();
  }
}
