/** Starts work on the next items while one is used; gives the results in order. */
export async function* ahead<T, R>(
  items: readonly T[],
  work: (item: T) => Promise<R>,
  count: number,
): AsyncGenerator<R> {
  const running: Promise<R>[] = [];
  for (const item of items) {
    const started = work(item);
    started.catch(() => undefined); // It is awaited below, unless an earlier one ends the reading.
    running.push(started);
    const first = running.length > count ? running.shift() : undefined;
    if (first) yield await first;
  }
  for (const started of running) yield await started;
}
